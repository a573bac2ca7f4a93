// The checks of the workspace, in order. All of them run, whatever fails, so that one run shows everything.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";

const testReport = "dist/test-report.json";

/** A step is one command line of the workspace; `count` reads how many checks it made, by default one. */
const steps = [
  { name: "format", title: "Format", command: ["prettier", "--check", "--log-level", "warn", "."] },
  { name: "lint", title: "Lint and module boundaries", command: ["node", "tools/ci/lint.mjs"] },
  { name: "names", title: "No method's name in shared code", command: ["node", "tools/ci/check-names.mjs"] },
  {
    name: "methods",
    title: "Generated tables",
    command: ["node", "tools/run.mjs", "methods", "--check"],
  },
  { name: "types", title: "Types", command: ["tsc", "-p", "."] },
  {
    name: "tests",
    title: "Tests",
    command: ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${testReport}`],
    minutes: 16,
    count: countTests,
  },
  { name: "build", title: "Build", command: ["nx", "run-many", "-t", "build"] },
  { name: "packages", title: "Packed packages", command: ["node", "tools/ci/packages.mjs"] },
  { name: "snippets", title: "README snippets and examples", command: ["node", "tools/ci/snippets.mjs"] },
];

/** The counts of vitest's report. A run that failed outside any test (a crash, a file that does not load) is one more failure. */
function countTests(root, ok) {
  const file = path.join(root, testReport);
  if (!existsSync(file)) return { passed: 0, failed: 1 };
  const report = JSON.parse(readFileSync(file, "utf8"));
  const unloaded = report.testResults.filter(
    (suite) => suite.status === "failed" && suite.assertionResults.length === 0,
  );
  const failed = report.numFailedTests + unloaded.length;
  return { passed: report.numPassedTests, failed: ok ? failed : Math.max(failed, 1) };
}

function environment(root) {
  return {
    ...process.env,
    ...(process.stdout.isTTY ? {} : { NO_COLOR: "1", FORCE_COLOR: undefined }),
    CI: "true",
    NX_DAEMON: "false",
    NX_NO_CLOUD: "true",
    NX_TUI: "false",
    PATH: path.join(root, "node_modules", ".bin") + path.delimiter + process.env["PATH"],
  };
}

/** Runs a command to its end or to its time limit; resolves to whether it succeeded. */
function run({ command, minutes = 8 }, root) {
  return new Promise((resolve) => {
    const [file, ...args] = command;
    const child = spawn(file === "node" ? process.execPath : file, args, {
      cwd: root,
      env: environment(root),
      stdio: ["ignore", "inherit", "inherit"],
      // A group of its own, so that a time limit ends the workers too.
      detached: process.platform !== "win32",
      shell: process.platform === "win32",
    });
    const stop = () => {
      try {
        process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    };
    const timer = setTimeout(() => {
      console.log(`Stopped after ${minutes} minutes.`);
      stop();
    }, minutes * 60_000);
    const interrupt = () => {
      stop();
      process.exit(130);
    };
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    const finish = (ok) => {
      clearTimeout(timer);
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
      resolve(ok);
    };
    child.on("error", (error) => {
      console.log(String(error));
      finish(false);
    });
    child.on("exit", (code) => finish(code === 0));
  });
}

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

async function runStep(step, root) {
  console.log(`\n━━━ ${step.title} (${step.name})`);
  const started = Date.now();
  const ok = await run(step, root);
  const counts = step.count?.(root, ok) ?? { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
  console.log(`━━━ ${step.title}: ${ok ? "passed" : "FAILED"} in ${seconds(started)}`);
  return { step, ok, time: seconds(started), ...counts };
}

/** Runs every check, or those named in `only`; prints a summary that ends with the counts, returns the exit code. */
export async function runChecks({ root, only }) {
  const unknown = only.filter((name) => !steps.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`Unknown check "${unknown[0]}". Checks: ${steps.map((step) => step.name).join(", ")}.`);
    return 2;
  }
  mkdirSync(path.join(root, "dist"), { recursive: true });
  rmSync(path.join(root, testReport), { force: true });
  const results = [];
  for (const step of steps) {
    if (only.length > 0 && !only.includes(step.name)) continue;
    results.push(await runStep(step, root));
  }
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log("\n━━━ Summary");
  for (const { step, ok, time, passed, failed } of results) {
    console.log(
      `${ok ? "passed" : "FAILED"}  ${step.title.padEnd(34)} ${time.padStart(9)}  ${passed} passed, ${failed} failed`,
    );
  }
  console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
  return sum("failed") === 0 ? 0 : 1;
}
