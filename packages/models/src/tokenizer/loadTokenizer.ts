import { stat } from "node:fs/promises";
import { join } from "node:path";
import { PeftError, readJsonObject, readText, writeFileAtomic } from "@peftjs/core";
import { byteLevelTokenizer, wordPieceTokenizer } from "./fromVocabulary.ts";
import { createTokenizer, tokenText, type Tokenizer } from "./tokenizer.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the tokenizer of a Hugging Face folder: `tokenizer.json`, or `vocab.txt` (WordPiece), or `vocab.json` with `merges.txt`
 * (byte-level BPE). `tokenizer_config.json`, `special_tokens_map.json` and the model's `config.json` are used where present.
 * @throws PeftError `TOKENIZER_MISSING`, `TOKENIZER_INVALID`, `JSON_INVALID`, `FILE_NOT_FOUND`.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  if (!(await exists(folder)))
    throw new PeftError("FILE_NOT_FOUND", `${folder} does not exist. Give the path of a model folder.`);
  const [own, map, modelConfig] = await Promise.all(
    ["tokenizer_config.json", "special_tokens_map.json", "config.json"].map((name) => optionalJson(join(folder, name))),
  );
  const config: Json = { ...map, ...own };
  const { json, roles } = await readTokenizer(folder, config);
  return createTokenizer({ tokenizer: json, config: { ...roles, ...config }, modelConfig: modelConfig ?? {} });
}

/** Writes `tokenizer.json` and `tokenizer_config.json`. */
export async function saveTokenizer({ files }: Tokenizer, dir: string): Promise<void> {
  await writeFileAtomic(join(dir, "tokenizer.json"), `${JSON.stringify(files.tokenizer)}\n`);
  await writeFileAtomic(join(dir, "tokenizer_config.json"), `${JSON.stringify(files.config, null, 2)}\n`);
}

const BERT_ROLES = {
  cls_token: "[CLS]",
  sep_token: "[SEP]",
  mask_token: "[MASK]",
  pad_token: "[PAD]",
  unk_token: "[UNK]",
};
const ROBERTA_ROLES = {
  ...{ bos_token: "<s>", eos_token: "</s>", cls_token: "<s>", sep_token: "</s>" },
  ...{ mask_token: "<mask>", pad_token: "<pad>", unk_token: "<unk>" },
};

/** tokenizer.json, and the roles of special tokens that a raw vocabulary implies. */
async function readTokenizer(folder: string, config: Json): Promise<{ json: Json; roles: Json }> {
  const path = (name: string): string => join(folder, name);
  if (await exists(path("tokenizer.json"))) return { json: await readJsonObject(path("tokenizer.json")), roles: {} };
  if (await exists(path("vocab.txt"))) {
    const lines = (await readText(path("vocab.txt"))).replace(/\r?\n$/u, "").split(/\r?\n/u);
    const options = {
      doLowerCase: config["do_lower_case"] !== false,
      stripAccents: typeof config["strip_accents"] === "boolean" ? config["strip_accents"] : null,
      tokenizeChinese: config["tokenize_chinese_chars"] !== false,
    };
    return { json: wordPieceTokenizer(lines, specialTexts(BERT_ROLES, config), options), roles: BERT_ROLES };
  }
  if ((await exists(path("vocab.json"))) && (await exists(path("merges.txt")))) {
    const vocabulary = (await readJsonObject(path("vocab.json"))) as Record<string, number>;
    const merges = (await readText(path("merges.txt"))).split(/\r?\n/u);
    return { json: byteLevelTokenizer(vocabulary, merges, specialTexts(ROBERTA_ROLES, config)), roles: ROBERTA_ROLES };
  }
  throw new PeftError(
    "TOKENIZER_MISSING",
    `${folder} has no tokenizer.json, no vocab.txt, and no vocab.json with merges.txt. In Python, AutoTokenizer.from_pretrained(…).save_pretrained(folder) writes tokenizer.json.`,
  );
}

function specialTexts(roles: Json, config: Json): string[] {
  return Object.keys(roles).flatMap((role) => tokenText(config[role]) ?? tokenText(roles[role]) ?? []);
}

async function optionalJson(path: string): Promise<Json | null> {
  return (await exists(path)) ? readJsonObject(path) : null;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
