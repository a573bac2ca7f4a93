import { registeredMethods } from "@peftjs/bench";
import { loadAdapter, PeftError, PeftModel, saveAdapter } from "@peftjs/core";
import type { BaseModel } from "@peftjs/core";
import { Command } from "commander";
import { openAdapted } from "../adapted.ts";
import { readAdapterInfo, writeAdapterInfo } from "../adapterInfo.ts";
import { listOfNames } from "../options/common.ts";
import { checkOut, writeOut } from "../output.ts";

interface ConvertFlags {
  readonly model: string;
  readonly adapter: string;
  readonly as: string;
  readonly out: string;
  readonly labels?: readonly string[];
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

/** `convert`: the same adapter as another type of file. */
export function convertCommand(): Command {
  return new Command("convert")
    .description("Write an adapter as another type of file that says exactly the same.")
    .requiredOption("--model <folder>", "base model")
    .requiredOption("--adapter <folder>", "adapter written by train, or by the Python library")
    .requiredOption("--as <name>", "type of file, or method that shall read it: lora, rocoft, …")
    .requiredOption("--out <folder>", "where the adapter goes")
    .option("--labels <names>", "labels in the order of the logits, where no file says them", listOfNames)
    .option("--overwrite", "replace what --out holds")
    .option("--json", "print one JSON object")
    .action(convert);
}

async function convert(flags: ConvertFlags): Promise<void> {
  checkOut(flags.out, flags.overwrite === true);
  const { model: own } = await openAdapted(flags);
  const writable = typesOf(own);
  // What the adapter's own method cannot write, the method of that name may read.
  const isRead =
    !writable.includes(flags.as) &&
    registeredMethods()
      .list()
      .some(({ name }) => name === flags.as);
  const model = isRead ? await readAs(own.base, flags, writable) : own;
  const info = await readAdapterInfo(flags.adapter);
  await writeOut(flags.out, async (folder) => {
    await saveAdapter(model, { dir: folder, as: flags.as });
    if (info !== null) await writeAdapterInfo(folder, { ...info, method: flags.as });
  });
  const [from = ""] = writable;
  const summary = { out: flags.out, from, as: flags.as };
  process.stdout.write(
    `${flags.json === true ? JSON.stringify(summary) : `Adapter of ${from} written as ${flags.as} to ${flags.out}`}\n`,
  );
}

async function readAs(
  base: BaseModel,
  { adapter: dir, as }: ConvertFlags,
  writable: readonly string[],
): Promise<PeftModel> {
  const model = new PeftModel(base);
  try {
    await loadAdapter(model, { dir, methods: registeredMethods(), as });
    return model;
  } catch (error) {
    if (!(error instanceof PeftError) || error.code !== "INTERCHANGE_UNSUPPORTED") throw error;
    throw new PeftError(error.code, `${error.message} The adapter can be written as: ${writable.join(", ")}.`, {
      cause: error,
    });
  }
}

/** What an adapter is called, and what it can be written as. */
function typesOf(model: PeftModel): string[] {
  return [...model.adapters.values()].flatMap(({ method }) => [
    method.name,
    ...(method.interchange ?? []).filter(({ to }) => to !== undefined).map(({ carrier }) => carrier.name),
  ]);
}
