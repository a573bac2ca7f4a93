#!/usr/bin/env node
// `npx peftjs …` in a checkout: sets the workspace up where that is needed, then runs the command line's sources.
import process from "node:process";

process.argv.splice(2, 0, "peftjs");
await import("./run.mjs");
