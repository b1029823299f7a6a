/** Compiles programs as users of the package do, with its declarations from dist, which are checked too. */
import ts from 'typescript';

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  allowJs: true,
  checkJs: true,
};

/** What the compiler says of a file, and of which line; the first is 1. */
export interface Complaint {
  readonly line: number;
  readonly text: string;
}

/** Compiles `files`, all in the folder `rootDir`, into `outDir`; returns the complaints about each. */
export function compile(
  files: readonly string[],
  rootDir: string,
  outDir: string,
): Map<string, Complaint[]> {
  const program = ts.createProgram(files, { ...OPTIONS, rootDir, outDir });
  const diagnostics = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  const complaints = new Map<string, Complaint[]>(files.map((file) => [file, []]));
  for (const { file, start = 0, messageText } of diagnostics) {
    const text = ts.flattenDiagnosticMessageText(messageText, '\n');
    if (file === undefined) throw new Error(text);
    const known = complaints.get(file.fileName);
    if (known === undefined) throw new Error(`${file.fileName}: ${text}`);
    known.push({ line: file.getLineAndCharacterOfPosition(start).line + 1, text });
  }
  return complaints;
}
