// Draws the plotly figures of a page when they come near the view. Their data lie in one script
// file each, so that pages open from a disk without a server; plotly.js is loaded once.
"use strict";
(() => {
  const waiting = new Map();
  let plotly = null;

  function load(source) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = done;
      script.onerror = () => failed(new Error(`${source} cannot be loaded`));
      document.head.append(script);
    });
  }

  // a figure wider than its place is drawn smaller, in proportion, but never flatter or (curves with
  // a legend) narrower than readable: then it scrolls
  function fitted(layout, room) {
    const width = layout.width || 860;
    const height = layout.height || 450;
    if (width <= room) return { ...layout, width, height, autosize: false };
    const wide = layout.images?.length ? room : Math.max(room, Math.min(width, 640));
    const tall = Math.max(Math.min(height, 340), (height * wide) / width);
    return { ...layout, width: wide, height: tall, autosize: false };
  }

  window.particleFigure = (name, figure) => {
    const place = document.getElementById(`figure-${name}`);
    const draw = () => {
      const layout = fitted(figure.layout, place.clientWidth);
      place.style.aspectRatio = "auto";
      window.Plotly.react(place, figure.data, layout, figure.config);
      place.dataset.drawn = "true";
    };
    draw();
    let room = place.clientWidth;
    new ResizeObserver(() => {
      if (place.clientWidth === room || !place.clientWidth) return;
      room = place.clientWidth;
      draw();
    }).observe(place);
  };

  async function show(place) {
    const here = document.querySelector("script[src$='assets/figures.js']").src;
    plotly ??= load(here.replace(/figures\.js$/, "plotly.min.js"));
    try {
      await plotly;
      await load(place.dataset.source);
    } catch (error) {
      place.textContent = error.message;
    }
  }

  const places = document.querySelectorAll("[data-figure]");
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || waiting.has(entry.target)) continue;
      waiting.set(entry.target, show(entry.target));
      seen.unobserve(entry.target);
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => seen.observe(place));
})();
