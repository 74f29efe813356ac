// node check.mjs BOARD.json…: the type of each board against Grafana's own, which @grafana/schema declares.
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";

// JSON has text where the schema has enums, so Json<T> makes unions of text of them. It also knows what the schema
// leaves out: what Grafana's Prometheus plugin reads of an annotation and of its query.
const TYPES = `
import type { Dashboard } from "@grafana/schema";
type Fields<T> = { [K in keyof T]: Json<T[K]> };
type Json<T> = T extends string ? (string extends T ? string : \`\${T}\`)
  : T extends (infer Each)[] ? Json<Each>[]
  : T extends { iconColor: string } ? Fields<T> & { titleFormat?: string; textFormat?: string }
  : T extends { refId: string } ? Fields<T> & { expr?: string; interval?: string }
  : T extends object ? Fields<T>
  : T;
export const board: Json<Dashboard> = `;
const LINES = TYPES.split("\n").length - 1;
const OPTIONS = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  types: [],
};

function problems(file) {
  const program = path.resolve(`${path.basename(file, ".json")}.board.ts`);
  fs.writeFileSync(program, `${TYPES}${fs.readFileSync(file, "utf8")};\n`);
  try {
    return ts.getPreEmitDiagnostics(ts.createProgram([program], OPTIONS)).map((found) => {
      const line = found.file ? found.file.getLineAndCharacterOfPosition(found.start).line - LINES + 1 : 0;
      return `${file}:${line}: ${ts.flattenDiagnosticMessageText(found.messageText, " ").slice(0, 300)}`;
    });
  } finally {
    fs.unlinkSync(program);
  }
}

const boards = process.argv.slice(2);
const found = boards.flatMap(problems);
found.forEach((line) => console.log(line));
console.log(`${boards.length} boards, ${found.length} problems`);
process.exit(found.length || !boards.length ? 1 : 0);
