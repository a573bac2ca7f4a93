import { SingleBar } from "cli-progress";
import pc from "picocolors";
import type { EvaluateEvent, Logger } from "../events.ts";

export interface ConsoleLoggerOptions {
  /** Default: standard error, so that standard output stays free for results. */
  readonly stream?: NodeJS.WriteStream;
}

/**
 * A progress bar on a terminal; elsewhere one line per evaluation and at the end. Colours follow `NO_COLOR`.
 */
export function consoleLogger({ stream = process.stderr }: ConsoleLoggerOptions = {}): Logger {
  const colors = pc.createColors(pc.isColorSupported && stream.isTTY);
  let bar: SingleBar | null = null;
  let latest = "";
  const print = (line: string): void => {
    stream.write(`${stream.isTTY ? "\r\x1b[K" : ""}${line}\n`);
  };
  return {
    start: ({ resumedFrom, totalSteps }) => {
      if (resumedFrom > 0) print(`Resumed after step ${resumedFrom}.`);
      if (!stream.isTTY) return;
      bar = new SingleBar({
        stream,
        format: `${colors.cyan("{bar}")} {value}/{total} · loss {loss}{penalty} · lr {rate} · {duration_formatted} + {eta_formatted}{latest}`,
        barsize: 24,
        barCompleteChar: "█",
        barIncompleteChar: "░",
        hideCursor: true,
        clearOnComplete: true,
        noTTYOutput: false,
      });
      bar.start(totalSteps, resumedFrom, { loss: "…", penalty: "", rate: "…", latest });
    },
    step: ({ step, loss, penalty, learningRate }) =>
      bar?.update(step, {
        loss: loss.toFixed(4),
        penalty: penalty === undefined ? "" : ` (penalty ${penalty.toFixed(4)})`,
        rate: learningRate.toExponential(2),
        latest,
      }),
    evaluate: (event) => {
      latest = ` · ${describe(event)}`;
      print(
        `${colors.dim(`step ${event.step} (epoch ${event.epoch.toFixed(2)})`)} ${describe(event)}${event.best ? colors.green(" best") : ""}`,
      );
    },
    end: ({ step, reason }) => {
      bar?.stop();
      bar = null;
      const why = { completed: "Finished", earlyStop: "Stopped early", aborted: "Stopped" }[reason];
      print(`${why} after ${step} steps.`);
    },
  };
}

function describe({ metrics }: EvaluateEvent): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toFixed(4)}`)
    .join(", ");
}
