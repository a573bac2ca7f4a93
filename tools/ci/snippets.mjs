// Runs every TypeScript block of the READMEs as the complete program it claims to be, and checks its types.
// A block marked `no-run` is only shown. Then runs the examples. Arguments, if any, are the READMEs to check instead.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { filesBelow, packages, relative, root } from "./workspace.mjs";

const place = path.join(root, "dist", "snippets");
const secondsPerProgram = 120;

/** Blocks of one README: `{ file, line, code }`, line being the number of the block's first line. */
function snippetsOf(file) {
  const snippets = [];
  let open = null;
  for (const [index, line] of readFileSync(file, "utf8").split("\n").entries()) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence === null) open?.code.push(line);
    else if (open !== null) {
      if (open.run) snippets.push({ file, line: open.line, code: open.code.join("\n") });
      open = null;
    } else {
      const [language, ...marks] = fence[1].trim().split(/\s+/);
      open = { run: /^(ts|typescript)$/.test(language) && !marks.includes("no-run"), line: index + 2, code: [] };
    }
  }
  return snippets;
}

/** A folder inside the workspace where every package, and whatever a package depends on, can be imported by name. */
function prepare() {
  rmSync(place, { recursive: true, force: true });
  const modules = path.join(place, "node_modules");
  const link = (name, target) => {
    const at = path.join(modules, name);
    if (existsSync(at) || !existsSync(target)) return;
    mkdirSync(path.dirname(at), { recursive: true });
    symlinkSync(target, at, "junction");
  };
  for (const { folder, json } of packages()) {
    link(json.name, folder);
    for (const name of Object.keys({ ...json.dependencies, ...json.peerDependencies })) {
      link(name, path.join(folder, "node_modules", name));
    }
  }
  writeFileSync(path.join(place, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const options = {
    extends: "../../tsconfig.base.json",
    compilerOptions: { moduleDetection: "force" },
    include: ["*.ts"],
  };
  writeFileSync(path.join(place, "tsconfig.json"), JSON.stringify(options));
}

/** Writes a snippet so that its line numbers are those of the README. */
function write(snippet) {
  const name = `${relative(snippet.file)
    .replace(/^[./]+/, "")
    .replaceAll("/", "__")}__${snippet.line}.ts`;
  writeFileSync(path.join(place, name), "\n".repeat(snippet.line - 1) + snippet.code + "\n");
  return { ...snippet, name, title: `${relative(snippet.file)}:${snippet.line}` };
}

function execute(args, { cwd, seconds }) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: process.env });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    const timer = setTimeout(() => {
      output += `\nStopped after ${seconds} seconds.`;
      child.kill("SIGKILL");
    }, seconds * 1000);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ok: code === 0, output });
    });
  });
}

/** Type errors by snippet name. */
async function typeErrors() {
  const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
  const { ok, output } = await execute([tsc, "--noEmit", "--pretty", "false", "-p", place], {
    cwd: place,
    seconds: 300,
  });
  if (ok) return new Map();
  const errors = new Map();
  let name = "(the compiler itself)";
  for (const line of output.trim().split("\n")) {
    name = /^(\S+?\.ts)\(\d+,\d+\)/.exec(line)?.[1] ?? name;
    errors.set(name, [...(errors.get(name) ?? []), line]);
  }
  return errors;
}

/** Runs a program in a folder of its own, which it also gets as its argument: that is where examples write to. */
async function check({ file, title, wrong = [] }) {
  const work = path.join(place, "work", title.replace(/[^\w.-]+/g, "_"));
  mkdirSync(work, { recursive: true });
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const started = Date.now();
  const args = ["--conditions=@peftjs/source", "--import", tsx, file, work];
  const { ok, output } = await execute(args, { cwd: work, seconds: secondsPerProgram });
  const passed = ok && wrong.length === 0;
  console.log(`${passed ? "passed" : "FAILED"}  ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (wrong.length > 0) console.log(wrong.join("\n"));
  if (!ok) console.log(output.trimEnd());
  return passed;
}

/** Their types are checked with the workspace's. */
function examples() {
  const folder = path.join(root, "examples");
  return readdirSync(folder)
    .map((name) => path.join(folder, name, "main.ts"))
    .filter((file) => existsSync(file))
    .map((file) => ({ file, title: relative(file) }));
}

const isReadme = (file) => path.basename(file) === "README.md";
const below = ["packages", "tools", "examples"].flatMap((folder) => filesBelow(path.join(root, folder), isReadme));
const own = readdirSync(root).filter((name) => /^(README|CONTRIBUTING)\.md$/.test(name));
const chosen = process.argv.slice(2).map((file) => path.resolve(file));
const readmes = chosen.length > 0 ? chosen : [...own.map((name) => path.join(root, name)), ...below];

prepare();
const snippets = readmes.flatMap(snippetsOf).map(write);
const types = snippets.length > 0 ? await typeErrors() : new Map();
let failed = 0;
const programs = [
  ...snippets.map(({ name, title }) => ({ file: path.join(place, name), title, wrong: types.get(name) })),
  ...(chosen.length > 0 ? [] : examples()),
];
for (const program of programs) failed += (await check(program)) ? 0 : 1;
// An error in the sources is reported by the type check of the workspace.
const stray = [...types.keys()].filter((name) => !snippets.some((snippet) => snippet.name === name));
for (const name of stray) console.log(`Not counted here: ${types.get(name).length} type errors of ${name}`);
console.log(
  `${programs.length - failed} of ${programs.length} programs passed: ${snippets.length} snippets of ${readmes.length} READMEs, ${programs.length - snippets.length} examples.`,
);
process.exitCode = failed === 0 ? 0 : 1;
