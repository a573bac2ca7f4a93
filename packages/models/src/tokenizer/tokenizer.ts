import { Tokenizer as Backend } from "@huggingface/tokenizers";
import { PeftError } from "@peftjs/core";
import { plainTemplate, templateOf, type Template, type TemplatePiece } from "./template.ts";
import { keptLengths, type Truncation } from "./truncate.ts";

type Json = Readonly<Record<string, unknown>>;

export interface EncodeOptions {
  /** Most tokens of the result, special ones included. Default and upper bound: the tokenizer's own `maxLength`. */
  readonly maxLength?: number;
  /** How to shorten what is longer. Default `longest_first`. */
  readonly truncation?: Truncation;
  readonly addSpecialTokens?: boolean;
}

export interface Encoding {
  readonly ids: number[];
  /** 0 for the first text, 1 for the second where the family tells them apart. */
  readonly typeIds: number[];
}

export interface SpecialTokenIds {
  readonly cls: number | null;
  readonly sep: number | null;
  readonly mask: number | null;
  readonly unk: number | null;
  readonly bos: number | null;
  readonly eos: number | null;
}

/** Text to ids and back. Padding is the collator's: it knows the length of the batch. */
export interface Tokenizer {
  /** Most tokens the model takes, special ones included. */
  readonly maxLength: number;
  readonly padTokenId: number;
  readonly padSide: "left" | "right";
  readonly vocabSize: number;
  readonly specialTokens: SpecialTokenIds;
  /**
   * Ids of a text or a pair of texts, with special tokens. An empty second text is a second text.
   * @throws PeftError `TRUNCATION_IMPOSSIBLE`.
   */
  encode(text: string, pair?: string | null, options?: EncodeOptions): Encoding;
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  tokenId(token: string): number | null;
  /** Number of special tokens around one text, or two. */
  specialCount(pair: boolean): number;
  /** tokenizer.json and tokenizer_config.json: what `saveTokenizer` writes. */
  readonly files: { readonly tokenizer: Json; readonly config: Json };
}

export interface TokenizerParts {
  /** tokenizer.json */
  readonly tokenizer: Json;
  /** tokenizer_config.json */
  readonly config?: Json;
  /** config.json of the model: gives the number of positions and the padding id. */
  readonly modelConfig?: Json;
}

/** Without a stated limit. */
const DEFAULT_MAX_LENGTH = 512;

/** Builds a tokenizer from parsed files. @throws PeftError `TOKENIZER_INVALID`. */
export function createTokenizer({ tokenizer, config = {}, modelConfig = {} }: TokenizerParts): Tokenizer {
  const backend = openBackend(tokenizer, config);
  const template = templateOf(tokenizer["post_processor"]) ?? plainTemplate;
  const special = specialIds(backend, config);
  const maxLength = lengthLimit(config, modelConfig);
  const fromLeft = config["truncation_side"] === "left";
  const idsOf = (text: string): number[] =>
    text === "" ? [] : backend.encode(text, { add_special_tokens: false }).ids;
  return {
    maxLength,
    padTokenId: padId(backend, { tokenizer, config, modelConfig }),
    padSide: config["padding_side"] === "left" ? "left" : "right",
    vocabSize: backend.get_vocab(true).size,
    specialTokens: special,
    files: { tokenizer, config },
    tokenId: (token) => backend.token_to_id(token) ?? null,
    specialCount: (pair) => countSpecial(pair ? template.pair : template.single),
    decode: (ids, { skipSpecialTokens = true } = {}) =>
      ids.length === 0
        ? ""
        : backend.decode([...ids], { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false }),
    encode: (text, pair = null, options = {}) => {
      const pieces =
        options.addSpecialTokens === false
          ? withoutSpecial(template, pair !== null)
          : pair === null
            ? template.single
            : template.pair;
      const [a, b] = [idsOf(text), pair === null ? [] : idsOf(pair)];
      const budget = Math.min(options.maxLength ?? maxLength, maxLength) - countSpecial(pieces);
      const [n1, n2] = keptLengths([a.length, b.length], budget, options.truncation ?? "longest_first");
      const cut = (ids: number[], n: number): number[] => (fromLeft ? ids.slice(ids.length - n) : ids.slice(0, n));
      return assemble(pieces, { A: cut(a, n1), B: cut(b, n2) });
    },
  };
}

function openBackend(tokenizer: Json, config: Json): Backend {
  try {
    return new Backend(tokenizer, config);
  } catch (cause) {
    throw new PeftError(
      "TOKENIZER_INVALID",
      `tokenizer.json cannot be used: ${(cause as Error).message}. Save the tokenizer again with the Python library.`,
      { cause },
    );
  }
}

function assemble(pieces: readonly TemplatePiece[], texts: { readonly A: number[]; readonly B: number[] }): Encoding {
  const ids: number[] = [];
  const typeIds: number[] = [];
  for (const piece of pieces) {
    const added = piece.kind === "special" ? piece.ids : texts[piece.text];
    for (const id of added) {
      ids.push(id);
      typeIds.push(piece.type);
    }
  }
  return { ids, typeIds };
}

function withoutSpecial({ single, pair }: Template, isPair: boolean): readonly TemplatePiece[] {
  return (isPair ? pair : single).filter((piece) => piece.kind === "text");
}

function countSpecial(pieces: readonly TemplatePiece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.kind === "special" ? piece.ids.length : 0), 0);
}

/** A token of the config: a string, or an object with `content`. */
export function tokenText(value: unknown): string | null {
  if (typeof value === "string") return value;
  const content = typeof value === "object" && value !== null ? (value as Json)["content"] : undefined;
  return typeof content === "string" ? content : null;
}

function specialIds(backend: Backend, config: Json): SpecialTokenIds {
  const idOf = (role: string): number | null => {
    const token = tokenText(config[`${role}_token`]);
    return token === null ? null : (backend.token_to_id(token) ?? null);
  };
  return {
    cls: idOf("cls"),
    sep: idOf("sep"),
    mask: idOf("mask"),
    unk: idOf("unk"),
    bos: idOf("bos"),
    eos: idOf("eos"),
  };
}

/** The padding token of the config, else tokenizer.json's, the usual names', the model's, or the end-of-text token. */
function padId(backend: Backend, { tokenizer, config = {}, modelConfig = {} }: TokenizerParts): number {
  const padding = (tokenizer["padding"] ?? {}) as Json;
  const names = [config["pad_token"], padding["pad_token"], "[PAD]", "<pad>"].map(tokenText);
  const named = names
    .map((name) => (name === null ? undefined : backend.token_to_id(name)))
    .find((id) => id !== undefined);
  if (named !== undefined) return named;
  if (typeof modelConfig["pad_token_id"] === "number") return modelConfig["pad_token_id"];
  const end = tokenText(config["eos_token"]);
  const id = end === null ? undefined : backend.token_to_id(end);
  if (id !== undefined) return id;
  throw new PeftError(
    "TOKENIZER_INVALID",
    `The tokenizer has no padding token. Name one as "pad_token" in tokenizer_config.json.`,
  );
}

/** The smaller of what the tokenizer and the model allow. RoBERTa's positions start after the padding id. */
function lengthLimit(config: Json, modelConfig: Json): number {
  const stated = config["model_max_length"];
  const own = typeof stated === "number" && stated > 0 && stated <= 1e6 ? stated : null;
  const positions = modelConfig["max_position_embeddings"];
  if (typeof positions !== "number") return own ?? DEFAULT_MAX_LENGTH;
  const type = modelConfig["model_type"];
  const shifted = typeof type === "string" && /roberta/u.test(type);
  const pad = typeof modelConfig["pad_token_id"] === "number" ? modelConfig["pad_token_id"] : 1;
  return Math.min(own ?? Infinity, shifted ? positions - pad - 1 : positions);
}
