import { createRandom } from "../random.ts";
import { readBrown } from "../sources/brown.ts";
import { readSpeeches } from "../sources/speeches.ts";
import { readWordNet } from "../sources/wordnet.ts";
import { buildEra, buildWordSwap } from "./documentTasks.ts";
import { headwordsOf, partitionNouns } from "./partition.ts";
import type { BuiltTask, Sealed } from "./rows.ts";
import { buildHypernym, buildSimilarity, buildSupersense } from "./wordnetTasks.ts";

/** Each task draws from a generator of its own: a change in one leaves the rows of the others as they are. */
export const TASK_SEED = 20260;

/** The five embedded tasks, and what they keep out of the corpus. */
export function buildTasks(): { tasks: BuiltTask[]; sealed: Sealed } {
  const nouns = readWordNet().filter((synset) => synset.id.startsWith("n"));
  const partition = partitionNouns(nouns, createRandom(TASK_SEED));
  const wordNet = (offset: number) => ({ nouns, partition, random: createRandom(TASK_SEED + offset) });
  const wordSwap = buildWordSwap(readBrown(), createRandom(TASK_SEED + 4));
  const era = buildEra(readSpeeches(), createRandom(TASK_SEED + 5));
  const sealedSynsets = [...partition.synsets.dev, ...partition.synsets.test];
  return {
    tasks: [
      buildSupersense(wordNet(1)),
      buildHypernym(wordNet(2)),
      buildSimilarity(wordNet(3)),
      wordSwap.task,
      era.task,
    ],
    sealed: {
      speeches: era.sealed,
      brownDocuments: wordSwap.sealed,
      synsets: new Set(sealedSynsets.map((synset) => synset.id)),
      headwords: headwordsOf(sealedSynsets),
    },
  };
}
