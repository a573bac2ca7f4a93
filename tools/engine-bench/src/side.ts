import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { spawn } from "node:child_process";
import type { Interface } from "node:readline";
import { createInterface } from "node:readline";

export interface StepReport {
  readonly milliseconds: number;
  readonly loss: number;
  readonly peakMemoryBytes: number;
  readonly traceMilliseconds?: number;
  readonly openMilliseconds?: number;
}

/** One of the programs that are compared: it runs a step when asked, and rests while the other one runs. */
export class Side {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, {
      stdio: ["pipe", "pipe", "inherit"],
    }) as unknown as ChildProcessWithoutNullStreams;
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** Waits until the program has loaded everything. */
  async ready(): Promise<void> {
    const line = await this.#next();
    if (line !== "ready") throw new Error(`Expected "ready", got "${line}".`);
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
    if (done === true) throw new Error("The program ended before it answered; its message is above.");
    return value;
  }
}
