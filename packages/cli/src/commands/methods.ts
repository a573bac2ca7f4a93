import { registeredMethods } from "@peftjs/bench";
import { Command } from "commander";
import { methodFlags } from "./trainOptions.ts";

/** `methods`: what `--method` accepts. */
export function methodsCommand(): Command {
  return new Command("methods")
    .description("List the registered methods, or the settings of one.")
    .argument("[name]", "method whose settings are listed")
    .option("--json", "print JSON")
    .action((name: string | undefined, flags: { readonly json?: boolean }) => {
      process.stdout.write(
        `${name === undefined ? allMethods(flags.json === true) : oneMethod(name, flags.json === true)}\n`,
      );
    });
}

function allMethods(asJson: boolean): string {
  const rows = registeredMethods()
    .list()
    .map(({ name, package: from, description }) => ({ name, package: from, description }));
  return asJson ? JSON.stringify(rows) : columns(rows.map((row) => [row.name, row.package, row.description]));
}

function oneMethod(name: string, asJson: boolean): string {
  const rows = methodFlags(registeredMethods().get(name)).map(({ flag, description }) => ({
    flag: `--${flag}`,
    description,
  }));
  return asJson ? JSON.stringify(rows) : columns(rows.map((row) => [row.flag, row.description]));
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
