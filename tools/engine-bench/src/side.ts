import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import { basename } from "node:path";
import type { Interface } from "node:readline";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Case } from "./cases.ts";

export interface WorkerArguments {
  readonly task: Case;
  readonly threads: number;
  readonly recompute: "none" | "blocks";
}

export interface StepReport {
  readonly milliseconds: number;
  readonly loss: number;
  /** Largest resident set of the whole process so far. */
  readonly peakMemoryBytes: number;
  /** What only our program can tell. */
  readonly ours?: {
    readonly traceMilliseconds: number;
    readonly openMilliseconds: number;
    readonly residentBytes: number;
    readonly tensors: number;
  };
}

/** One of the programs that are compared: it runs a step when asked, and rests while the others run. */
export class Side {
  readonly #name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(command: string, args: readonly string[], threads: number) {
    this.#name = [command, args[0] ?? ""].map((path) => basename(path)).join(" ");
    const counts = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...counts } });
    this.#child.on("error", (error) => void console.error(error.message));
    // A program that has ended is reported by the answer that does not come.
    this.#child.stdin.on("error", () => undefined);
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** Waits until the program has loaded everything; resolves to the versions of what it runs on. */
  async ready(): Promise<Readonly<Record<string, string>>> {
    return (JSON.parse(await this.#next()) as { ready: Record<string, string> }).ready;
  }

  async step(): Promise<StepReport> {
    this.#child.stdin.write("step\n");
    return JSON.parse(await this.#next()) as StepReport;
  }

  close(): void {
    this.#child.stdin.end();
    this.#reader.close();
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.#name} ended before it answered; its message is above.`);
    return value;
  }
}
