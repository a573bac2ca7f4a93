import { benchCommand } from "./command.ts";
import { runProgram } from "./program.ts";

process.exitCode = await runProgram(benchCommand(), process.argv.slice(2));
