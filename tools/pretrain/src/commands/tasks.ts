import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { bagOfWords } from "../tasks/bagOfWords.ts";
import { buildTasks, TASK_SEED } from "../tasks/build.ts";
import { noticeText } from "../tasks/notice.ts";
import type { ManifestEntry } from "../tasks/write.ts";
import { writeTask } from "../tasks/write.ts";
import { TASKS_FOLDER } from "../folders.ts";

export function registerTasks(program: Command): void {
  program
    .command("tasks")
    .description("build the embedded tasks into packages/data/tasks and print what a bag of words reaches on them")
    .action(() => {
      const { tasks } = buildTasks();
      rmSync(TASKS_FOLDER, { recursive: true, force: true });
      const entries: Record<string, ManifestEntry> = {};
      for (const task of tasks) {
        const baseline = bagOfWords(task);
        entries[task.name] = writeTask(TASKS_FOLDER, task, baseline);
        console.log(task.name, JSON.stringify(baseline));
      }
      writeFileSync(join(TASKS_FOLDER, "NOTICE.md"), noticeText());
      writeFileSync(
        join(TASKS_FOLDER, "manifest.json"),
        `${JSON.stringify({ seed: TASK_SEED, tasks: entries }, null, 2)}\n`,
      );
    });
}
