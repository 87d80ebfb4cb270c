// A page opened from a disk may not start a Worker. The search then runs in a hidden frame that
// looks like one to the theme: messages in, messages out, scripts loaded in order.
"use strict";
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(source) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "search";
      document.documentElement.append(frame);
      const inner = frame.contentWindow;
      inner.IFrameWorker = window.IFrameWorker;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const load = (file) => new Promise((done, failed) => {
        const script = inner.document.createElement("script");
        script.src = new URL(file, document.baseURI).href;
        script.onload = done;
        script.onerror = () => failed(new Error(`${file} cannot be loaded`));
        inner.document.body.append(script);
      });
      inner.importScripts = (...files) => files.reduce((before, file) => before.then(() => load(file)), Promise.resolve());
      this.inner = inner;
      this.ready = load(source);
    }

    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data })));
    }

    terminate() {
      this.inner.frameElement.remove();
    }
  };
}
