#!/usr/bin/env node
// Sets the workspace up where that is needed, then runs one of its commands. Plain Node: nothing is installed yet
// when this file starts.
//
//   node tools/run.mjs check [step …]   every check, or the steps named
//   node tools/run.mjs bench [args]     the comparison of methods
//   node tools/run.mjs peftjs [args]    the command line, from its sources
//   node tools/run.mjs methods          writes METHODS.md and the options in the READMEs
//   node tools/run.mjs setup            install only
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runChecks } from "./ci/check.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const stampFile = path.join(root, "node_modules", ".peftjs-setup");

/** pnpm, in the version that package.json pins. */
function packageManager() {
  return JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")).packageManager;
}

/** What an installation depends on: another Node or another lock file needs another one. */
function setupKey() {
  const hash = createHash("sha256").update(process.versions.modules).update(packageManager());
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml"]) hash.update(readFileSync(path.join(root, file)));
  return hash.digest("hex");
}

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  console.error(`PEFT.js needs Node 20.19 or newer; this is ${process.versions.node}.`);
  process.exit(2);
}

/** Installs with the pnpm version that package.json pins, unless that was done for this very lock file. */
function setUp() {
  requireNode();
  const key = setupKey();
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === key) return;
  console.error(`Setting up: installing with ${packageManager()} …`);
  const started = Date.now();
  const result = spawnSync(
    "npx",
    ["--yes", packageManager(), "install", "--frozen-lockfile", "--reporter=append-only"],
    {
      cwd: root,
      env: { ...process.env, CI: "true" },
      // What is printed goes to stderr: the standard output belongs to the command.
      stdio: ["ignore", 2, 2],
      shell: process.platform === "win32",
    },
  );
  if (result.status !== 0) {
    console.error(
      `Set-up failed (exit code ${result.status ?? result.error?.message}). Is the npm registry reachable?`,
    );
    process.exit(1);
  }
  writeFileSync(stampFile, key);
  console.error(`Set up in ${((Date.now() - started) / 1000).toFixed(0)} s.`);
}

/** Runs a TypeScript program of the workspace from its sources, and exits as it exits. */
function runSource(entry, args) {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const child = spawn(
    process.execPath,
    ["--conditions=@peftjs/source", "--import", tsx, path.join(root, entry), ...args],
    { stdio: "inherit" },
  );
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));
}

const [command, ...args] = process.argv.slice(2);
switch (command) {
  case "setup":
    setUp();
    break;
  case "check":
    setUp();
    process.exit(await runChecks({ root, only: args }));
    break;
  case "bench":
    setUp();
    runSource("packages/bench/src/bin.ts", args);
    break;
  case "peftjs":
    setUp();
    runSource("packages/cli/src/bin.ts", args);
    break;
  case "methods":
    setUp();
    runSource("tools/ci/methods.ts", args);
    break;
  default:
    console.error("Usage: node tools/run.mjs check | bench | peftjs | methods | setup");
    process.exit(2);
}
