import type { Method } from "../method/method.ts";

/** Of the Hub's tasks, those that follow from `task_type`. */
const PIPELINES: Readonly<Record<string, string>> = {
  SEQ_CLS: "text-classification",
  TOKEN_CLS: "token-classification",
  QUESTION_ANS: "question-answering",
  CAUSAL_LM: "text-generation",
};

export interface ModelCardOptions {
  /** What adapter_config.json says. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The README.md that is there already: its text stays, and what its front matter says beside these keys. */
  readonly present?: string | null;
}

/** README.md of an adapter folder: the front matter that the Hub reads, and what the adapter is. */
export function modelCard(
  method: Pick<Method, "name" | "description" | "wire">,
  { config, present = null }: ModelCardOptions,
): string {
  const name = String(config["base_model_name_or_path"] ?? "");
  const pipeline = PIPELINES[String(config["task_type"])];
  const old = parseCard(present ?? "");
  const tags = new Set([
    ...listOf(old.fields.get("tags")),
    ...(name === "" ? [] : [scalar(`base_model:adapter:${name}`)]),
    ...[method.wire.peftType.toLowerCase(), method.name, "transformers"].map(scalar),
  ]);
  const ours: [string, string][] = [["library_name", " peft"]];
  if (name !== "") ours.unshift(["base_model", ` ${scalar(name)}`]);
  const guessed: [string, string][] = pipeline === undefined ? [] : [["pipeline_tag", ` ${pipeline}`]];
  const fields = new Map([
    ...[...ours, ...guessed, ...old.fields, ...ours],
    ["tags", ["", ...[...tags].sort().map((tag) => `- ${tag}`)].join("\n")] as const,
  ]);
  const front = [...fields].map(([key, value]) => `${key}:${value}`).join("\n");
  return `---\n${front}\n---\n${present === null ? body(method, name) : old.body}`;
}

function body({ description }: Pick<Method, "description">, name: string): string {
  return [
    "",
    `# Adapter${name === "" ? "" : ` for ${name}`}`,
    "",
    description,
    "",
    "Written by PEFT.js. It loads with `loadAdapter` of `@peftjs/core` and, where the Python library knows the method, with `PeftModel.from_pretrained`.",
    "",
  ].join("\n");
}

/** A string as YAML reads it back: plain where it is a word or a path, else quoted. */
function scalar(text: string): string {
  return /^[A-Za-z][\w./-]*(:[\w./-]+)*$/u.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/iu.test(text)
    ? text
    : JSON.stringify(text);
}

interface Card {
  /** Keys of the front matter's first level with everything up to the next one, as it is written. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

function parseCard(text: string): Card {
  const [, front, body] = /^---\r?\n([\s\S]*?)\r?\n---[^\S\n]*\n([\s\S]*)$/u.exec(text) ?? [];
  if (front === undefined || body === undefined) return { fields: new Map(), body: text };
  const entries = front
    .split(/\r?\n(?=[^\s#-][^:\n]*:)/u)
    .map((entry) => [entry.slice(0, entry.indexOf(":")), entry.slice(entry.indexOf(":") + 1)] as const);
  return { fields: new Map(entries), body };
}

/** Entries of a YAML list, as they are written. */
function listOf(value = ""): string[] {
  const inline = /^\s*\[(.*)\]\s*$/su.exec(value)?.[1];
  if (inline !== undefined) return inline.split(",").map((item) => item.trim());
  return [...value.matchAll(/^\s*-\s+(.*?)\s*$/gmu)].map(([, item]) => item as string);
}
