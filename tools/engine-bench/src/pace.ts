import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { defineTrainingPlugin } from "@peftjs/core";
import type { TrainingPlugin } from "@peftjs/core";
import { z } from "zod";

/** A plug-in that lets every step wait for a line of the input; at its end the process ends. */
export function pacedBy(input: Readable, onLine: () => void): TrainingPlugin {
  const lines = createInterface({ input })[Symbol.asyncIterator]();
  const beforeStep = async (): Promise<object> => {
    const { done } = await lines.next();
    if (done === true) process.exit();
    onLine();
    return {};
  };
  return defineTrainingPlugin({
    name: "pace",
    description: "Lets steps wait.",
    package: "@peftjs/engine-bench",
    config: z.strictObject({}),
    start: () => ({ beforeStep }),
  });
}
