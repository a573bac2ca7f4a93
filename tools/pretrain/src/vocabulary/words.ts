/** BERT's basic tokenization, uncased: clean, split around CJK, lower-case, strip accents, split at blanks and punctuation. */
export function basicTokens(text: string): string[] {
  const clean = text
    .normalize("NFC")
    .replace(/[\t\n\r]/g, " ")
    .replace(/[\u0000\ufffd\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu, "")
    .replace(/[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff]/g, " $& ")
    .normalize("NFD")
    .replace(/\p{Mn}/gu, "")
    .toLowerCase();
  return clean.match(/[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+/gu) ?? [];
}
