import { PeftError } from "@peftjs/core";

/** A piece of a template: special tokens, or one of the two texts. */
export type TemplatePiece =
  | { readonly kind: "special"; readonly ids: readonly number[]; readonly type: number }
  | { readonly kind: "text"; readonly text: "A" | "B"; readonly type: number };

/** Where special tokens go around one text and around two. */
export interface Template {
  readonly single: readonly TemplatePiece[];
  readonly pair: readonly TemplatePiece[];
}

type Json = Readonly<Record<string, unknown>>;

const textA: TemplatePiece = { kind: "text", text: "A", type: 0 };

/** No special tokens; the two texts follow each other. */
export const plainTemplate: Template = { single: [textA], pair: [textA, { kind: "text", text: "B", type: 0 }] };

/** `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, the second text of type 1. */
function bertTemplate(cls: number, sep: number): Template {
  const special = (id: number, type: number): TemplatePiece => ({ kind: "special", ids: [id], type });
  const single = [special(cls, 0), textA, special(sep, 0)];
  return { single, pair: [...single, { kind: "text", text: "B", type: 1 }, special(sep, 1)] };
}

/** `<s> A </s>` and `<s> A </s></s> B </s>`, all of type 0. */
function robertaTemplate(cls: number, sep: number): Template {
  const special = (id: number): TemplatePiece => ({ kind: "special", ids: [id], type: 0 });
  const single = [special(cls), textA, special(sep)];
  return { single, pair: [...single, special(sep), { kind: "text", text: "B", type: 0 }, special(sep)] };
}

/** The template of tokenizer.json's post-processor; null when it says nothing about special tokens. */
export function templateOf(postProcessor: unknown): Template | null {
  if (typeof postProcessor !== "object" || postProcessor === null) return null;
  const json = postProcessor as Json;
  switch (json["type"]) {
    case "TemplateProcessing":
      return { single: pieces(json, "single"), pair: pieces(json, "pair") };
    case "BertProcessing":
      return bertTemplate(idOf(json, "cls"), idOf(json, "sep"));
    case "RobertaProcessing":
      return robertaTemplate(idOf(json, "cls"), idOf(json, "sep"));
    case "Sequence":
      return (
        ((json["processors"] as unknown[] | undefined) ?? []).map(templateOf).find((template) => template !== null) ??
        null
      );
    default:
      return null;
  }
}

function pieces(json: Json, key: "single" | "pair"): TemplatePiece[] {
  const special = (json["special_tokens"] ?? {}) as Readonly<Record<string, { ids?: number[] }>>;
  const list = json[key];
  if (!Array.isArray(list)) throw invalid(`its ${key} template is missing`);
  return (list as Json[]).map((piece) => {
    const sequence = piece["Sequence"] as { id?: string; type_id?: number } | undefined;
    if (sequence?.id === "A" || sequence?.id === "B")
      return { kind: "text", text: sequence.id, type: sequence.type_id ?? 0 };
    const token = piece["SpecialToken"] as { id?: string; type_id?: number } | undefined;
    const ids = token?.id === undefined ? undefined : special[token.id]?.ids;
    if (ids === undefined) throw invalid(`its ${key} template has the piece ${JSON.stringify(piece)}`);
    return { kind: "special", ids, type: token?.type_id ?? 0 };
  });
}

function idOf(json: Json, key: "cls" | "sep"): number {
  const pair = json[key];
  const id: unknown = Array.isArray(pair) ? pair[1] : undefined;
  if (typeof id !== "number") throw invalid(`its ${key} is ${JSON.stringify(pair)}, expected [token, id]`);
  return id;
}

function invalid(what: string): PeftError {
  return new PeftError(
    "TOKENIZER_INVALID",
    `tokenizer.json's post_processor cannot be used: ${what}. Save the tokenizer again.`,
  );
}
