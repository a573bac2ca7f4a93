import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { EventName, Logger, PluginEvent } from "../events.ts";

/**
 * One JSON object per line: `{ type, step, … }` with the numbers as they are. Lines are written at once, so that a killed
 * run loses none; a resumed run first drops every line after the step it starts from.
 */
export function jsonlLogger(path: string): Logger {
  const write = (type: EventName, event: object): void =>
    appendFileSync(path, `${JSON.stringify({ type, ...event })}\n`);
  return {
    start: (event) => {
      mkdirSync(dirname(path), { recursive: true });
      truncateLog(path, event.resumedFrom);
    },
    plugin: (event) => write("plugin", event),
    step: (event) => write("step", event),
    evaluate: (event) => write("evaluate", event),
    save: (event) => write("save", event),
    epoch: (event) => write("epoch", event),
    end: (event) => write("end", event),
  };
}

/** What plug-ins recorded up to a step, from a run's log. */
export function pluginEvents(path: string, step: number): PluginEvent[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => keeps(line, step));
  const events = lines.map((line) => JSON.parse(line) as PluginEvent & { readonly type: string });
  return events.filter(({ type }) => type === "plugin");
}

/** Keeps the complete lines up to `step`; lines of an end are dropped, for the run goes on. */
function truncateLog(path: string, step: number): void {
  if (!existsSync(path)) return;
  const kept = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => keeps(line, step));
  writeFileSync(path, kept.map((line) => `${line}\n`).join(""));
}

function keeps(line: string, step: number): boolean {
  try {
    const record = JSON.parse(line) as { type?: unknown; step?: unknown };
    return typeof record.step === "number" && record.step <= step && record.type !== "end";
  } catch {
    return false;
  }
}
