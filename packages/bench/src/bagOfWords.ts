import { listTasks } from "@peftjs/data";
import type { TaskInfo } from "@peftjs/data";
import type { References } from "./report.ts";

/** The better bag of words of each embedded task, on the metric that the methods are compared by. */
export function bagOfWordsScores(): References {
  const best = ({ metrics, bagOfWords }: TaskInfo): number =>
    Math.max(
      ...[bagOfWords.unigrams, bagOfWords.unigramsAndBigrams].map(
        (scores) => scores[metrics[0] ?? ""] ?? Number.NEGATIVE_INFINITY,
      ),
    );
  return Object.fromEntries(listTasks().map((task) => [task.name, best(task)]));
}
