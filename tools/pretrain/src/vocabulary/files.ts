import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LONGEST_WORD } from "./encode.ts";
import { SPECIAL_TOKENS } from "./train.ts";

/** Positions of the base model. */
const LONGEST_TEXT = 128;

/** Writes the tokenizer as a Hugging Face folder holds it. */
export function writeTokenizer(folder: string, vocabulary: readonly string[]): void {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, content: string): void => writeFileSync(join(folder, name), content);
  write("vocab.txt", `${vocabulary.join("\n")}\n`);
  write("tokenizer.json", `${JSON.stringify(tokenizerJson(vocabulary), null, 1)}\n`);
  write("tokenizer_config.json", `${JSON.stringify(tokenizerConfig(), null, 2)}\n`);
  write("special_tokens_map.json", `${JSON.stringify(ROLES, null, 2)}\n`);
}

const ROLES = { cls_token: "[CLS]", mask_token: "[MASK]", pad_token: "[PAD]", sep_token: "[SEP]", unk_token: "[UNK]" };

function addedToken(content: string): Record<string, unknown> {
  return { content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

function tokenizerConfig(): Record<string, unknown> {
  return {
    added_tokens_decoder: Object.fromEntries(SPECIAL_TOKENS.map((token, id) => [String(id), addedToken(token)])),
    clean_up_tokenization_spaces: true,
    ...ROLES,
    do_lower_case: true,
    model_max_length: LONGEST_TEXT,
    strip_accents: null,
    tokenize_chinese_chars: true,
    tokenizer_class: "BertTokenizer",
  };
}

function tokenizerJson(vocabulary: readonly string[]): Record<string, unknown> {
  const idOf = (token: string): number => vocabulary.indexOf(token);
  const special = (id: string, typeId: number) => ({ SpecialToken: { id, type_id: typeId } });
  const sequence = (id: string, typeId: number) => ({ Sequence: { id, type_id: typeId } });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((token) => ({ id: idOf(token), ...addedToken(token) })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
      pair: [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
      special_tokens: Object.fromEntries(
        ["[CLS]", "[SEP]"].map((token) => [token, { id: token, ids: [idOf(token)], tokens: [token] }]),
      ),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: LONGEST_WORD,
      vocab: Object.fromEntries(vocabulary.map((piece, id) => [piece, id])),
    },
  };
}
