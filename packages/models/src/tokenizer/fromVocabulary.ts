/** tokenizer.json objects for folders that have raw vocabularies alone. */

type Json = Readonly<Record<string, unknown>>;

export interface VocabularyOptions {
  readonly doLowerCase: boolean;
  readonly stripAccents: boolean | null;
  readonly tokenizeChinese: boolean;
}

function specialToken(content: string, id: number): Json {
  return {
    id,
    content,
    single_word: false,
    lstrip: content === "<mask>",
    rstrip: false,
    normalized: false,
    special: true,
  };
}

function addedTokens(vocabulary: Readonly<Record<string, number>>, special: readonly string[]): Json[] {
  const present = special
    .filter((token) => Object.hasOwn(vocabulary, token))
    .map((token) => specialToken(token, vocabulary[token] as number));
  return present.sort((a, b) => (a["id"] as number) - (b["id"] as number));
}

/** WordPiece with BERT's cleaning and splitting. `lines`: vocab.txt, the line number is the id. */
export function wordPieceTokenizer(
  lines: readonly string[],
  special: readonly string[],
  options: VocabularyOptions,
): Json {
  const vocabulary = Object.fromEntries(lines.map((token, id) => [token, id]));
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary, special),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: options.tokenizeChinese,
      strip_accents: options.stripAccents,
      lowercase: options.doLowerCase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: processor("BertProcessing", vocabulary, ["[CLS]", "[SEP]"]),
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: vocabulary,
    },
  };
}

/** Byte-level BPE. `merges`: merges.txt line by line; a first line that starts with #version is skipped. */
export function byteLevelTokenizer(
  vocabulary: Readonly<Record<string, number>>,
  merges: readonly string[],
  special: readonly string[],
): Json {
  const rules = merges.filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary, special),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: processor("RobertaProcessing", vocabulary, ["<s>", "</s>"]),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      vocab: vocabulary,
      merges: rules.map((line) => line.split(" ")),
    },
  };
}

/** A post-processor with the two special tokens, or none when the vocabulary lacks them. */
function processor(
  type: "BertProcessing" | "RobertaProcessing",
  vocabulary: Readonly<Record<string, number>>,
  [cls, sep]: readonly [string, string],
): Json | null {
  const [clsId, sepId] = [vocabulary[cls], vocabulary[sep]];
  if (clsId === undefined || sepId === undefined) return null;
  const base = { type, sep: [sep, sepId], cls: [cls, clsId] };
  return type === "RobertaProcessing" ? { ...base, trim_offsets: true, add_prefix_space: false } : base;
}
