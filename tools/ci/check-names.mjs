// No method's name may occur in the packages that every method shares: what they need to know about a method is
// declared by the method. Names are read from the plug-ins themselves, and those of planned ones are listed here.
import { readFileSync } from "node:fs";
import { filesBelow, packagesOf, relative } from "./workspace.mjs";

const planned = "rslora dora adalora pissa olora eva vera rocoft loretta ia3 sift bitfit rst galore mezo".split(" ");
/** Names that are ordinary words: only comparing something with them is a special case. */
const ordinary = new Set(["full", "head", "prefix", "prompt", "series", "parallel", "row", "column", "random"]);

const isSource = (file) => file.endsWith(".ts");

/** Values of `name:` in the method definitions. */
function declaredNames() {
  const files = packagesOf("method", "plugin").flatMap(({ folder }) => filesBelow(`${folder}/src`, isSource));
  return files
    .filter((file) => !file.endsWith(".test.ts"))
    .map((file) => readFileSync(file, "utf8"))
    .filter((text) => /\bdefine(Method|TrainingPlugin)\b/.test(text))
    .flatMap((text) => [...text.matchAll(/^\s*name: "([\w-]+)"/gm)].map((match) => match[1]));
}

/** Words of a line in lower case; identifiers are split where their case changes: `loraAlpha` is "lora", "alpha". */
function wordsOf(line) {
  return line
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}

function offence(line, names) {
  if (line.includes("@peftjs/method-")) return "a method package";
  const words = new Set(wordsOf(line));
  for (const name of names) {
    if (ordinary.has(name)) {
      if (new RegExp(`(===?|!==?|case)\\s*["']${name}["']`).test(line) && /method|peftType/i.test(line)) return name;
    } else if (words.has(name) || words.has(name.replaceAll("-", ""))) {
      return name;
    }
  }
  return null;
}

const names = new Set([...declaredNames(), ...planned]);
const files = packagesOf("core", "engine", "model", "data", "train").flatMap(({ folder }) =>
  filesBelow(`${folder}/src`, isSource),
);
let offences = 0;
for (const file of files) {
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    const name = offence(line, names);
    if (name === null) continue;
    offences += 1;
    console.log(`${relative(file)}:${index + 1}: names ${name}: ${line.trim()}`);
  }
}
console.log(`${files.length} files, ${names.size} names, ${offences} occurrences.`);
process.exitCode = offences === 0 ? 0 : 1;
