// Which particles the list shows, and in which order: pure functions.

const COMPARES = {
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};
const OPERATOR = "(<=|>=|!=|<|>|=)";
/** What every particle has beside the columns of the table: the key in the list, how it reads. */
export const FIELDS = [
  ["id", "number"], ["name", "name"], ["class", "class"], ["probability", "probability of the class"],
  ["confidence", "confidence"], ["iou", "predicted IoU"], ["stability", "stability"],
];

/** The value of a particle in a field or a column of the table; NaN or "" where there is none. */
export function valueOf(particle, name, columns) {
  if (name === "class") return particle.label || particle.guess || "";
  if (name === "probability") return particle.label ? 1 : particle.chance ?? NaN;
  if (name === "id" || name === "name" || name === "note") return particle[name];
  if (name === "iou" || name === "stability" || name === "confidence") return particle[name] ?? NaN;
  return particle.row?.[columns.indexOf(name)] ?? NaN;
}

/** The field or column that a person means: its whole name, or that without its unit. */
export function columnNamed(text, columns) {
  const low = text.toLowerCase(), all = [...FIELDS.map(([key]) => key), "note", ...columns];
  const begins = (name) => name.toLowerCase().startsWith(`${low}_`);
  return all.find((name) => name.toLowerCase() === low) ?? all.find(begins) ?? null;
}

/** What a person wrote above the list: words that number, name, class or note hold, and comparisons
 *  such as "x_A > 200" or "class = round". Gives {test} or {unknown}, a name that is no column. */
export function readQuery(text, columns) {
  const tight = text.replace(new RegExp(`\\s*${OPERATOR}\\s*`, "g"), "$1");
  const tests = [];
  for (const word of tight.toLowerCase().split(" ").filter(Boolean)) {
    const [, name, operator, value] = word.match(new RegExp(`^(.+?)${OPERATOR}(.*)$`)) ?? [];
    if (!operator) {
      tests.push((p) => `${p.id} ${p.name} ${p.label || p.guess || ""} ${p.note}`.toLowerCase().includes(word));
      continue;
    }
    const column = columnNamed(name, columns);
    if (!column) return { unknown: name };
    if (value === "") continue; // still being typed
    const number = Number(value);
    const means = (v) => (typeof v === "string" ? [v.toLowerCase(), value] : [v, number]);
    tests.push((p) => COMPARES[operator](...means(valueOf(p, column, columns))));
  }
  return { test: (p) => tests.every((holds) => holds(p)) };
}

/** Particles in the order of a column; what has no value there comes last either way. */
export function ordered(particles, name, down, columns) {
  const none = (v) => v === "" || Number.isNaN(v), sign = down ? -1 : 1;
  const keyed = particles.map((p) => [valueOf(p, name, columns), p]);
  keyed.sort(([a, p], [b, q]) => {
    if (none(a) || none(b)) return none(a) - none(b) || p.id - q.id;
    return a < b ? -sign : a > b ? sign : p.id - q.id;
  });
  return keyed.map(([, p]) => p);
}
