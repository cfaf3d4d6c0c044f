import { assertEquals } from "@std/assert";
import plugin from "./lint.ts";

/** What the plugin reports of a piece of code: the rule and the code in question. */
function reports(code: string): string[] {
  return Deno.lint.runPlugin(plugin, "main.ts", code).map(({ id, range: [from, to] }) =>
    `${id.replace("localgrad/tensor-", "")}: ${code.slice(from, to)}`
  );
}

Deno.test("a tensor in a condition is reported, wherever it comes from", () => {
  const cases: [string, string][] = [
    ["jit((x: Tensor) => x ? x.neg() : x)", "x"],
    ["jit((x) => x.gt(0) ? x.neg() : x)", "x.gt(0)"],
    ["jit((x, y) => { if (x.sub(y).lt(0)) return x; return y; })", "x.sub(y).lt(0)"],
    ["function f(x: Tensor) { const y = x.mean(); while (y) f(y); }", "y"],
    ["function f(x: lg.Tensor) { do { f(x); } while (x); }", "x"],
    ["const f = (x: Tensor) => { for (; x.lt(3);) f(x); };", "x.lt(3)"],
    ["const f = (x: Tensor) => !x;", "x"],
    ["const f = (x: Tensor, n: number) => n > 0 && x ? 1 : 2;", "x"],
    ["const f = (x: Tensor) => x && x.neg();", "x"],
    ["const f = (x: Tensor) => x || 1;", "x"],
    ["const f = (p: { w: Tensor }) => p.w ? 1 : 2;", "p.w"],
    ["const f = ({ w }: { w: Tensor }) => w ? 1 : 2;", "w"],
    ["const f = (x = y as Tensor) => (x as Tensor) ? 1 : 2;", "x as Tensor"],
    ["nn.stateless((x, mode) => mode && x ? x : x)", "x"],
    ["valueAndGrad((w) => w.sum() ? w : w)", "w.sum()"],
    [
      'import { full } from "@localgrad/localgrad"; const f = () => full([2], 1) ? 1 : 2;',
      "full([2], 1)",
    ],
    ["const f = (x: Tensor) => { const g = () => { return x ? 1 : 2; }; return g(); };", "x"],
  ];
  for (const [code, found] of cases) assertEquals(reports(code), [`condition: ${found}`], code);
});

Deno.test("an operator on a tensor is reported", () => {
  const cases: [string, string][] = [
    ["const f = (a: Tensor, b: Tensor) => a + b;", "a + b"],
    ["const f = (a: Tensor) => 2 * a;", "2 * a"],
    ["const f = (a: Tensor) => -a;", "-a"],
    ["const f = (a: Tensor) => a < 0;", "a < 0"],
    ["jit((a, b) => a.mul(2) ** b)", "a.mul(2) ** b"],
    ["const f = (a: Tensor) => { a += 1; };", "a += 1"],
  ];
  for (const [code, found] of cases) assertEquals(reports(code), [`operator: ${found}`], code);
});

Deno.test("other conditions and operators are not reported", () => {
  const cases = [
    "jit((x: Tensor) => x.rank > 1 ? x : x.reshape(-1, 1))",
    "jit((x: Tensor) => x.shape[0] === 2 ? x : x.neg())",
    'jit((x: Tensor) => x.dtype === "f32" ? x : x.cast("f32"))',
    "const f = (x: Tensor, y?: Tensor) => y ? x.add(y) : x;",
    "const f = (x: Tensor, y: Tensor | undefined) => y ? x.add(y) : x;",
    "const f = (x: Tensor) => x !== undefined ? x : null;",
    "const f = (x: Tensor) => x == null ? 1 : x ?? 2;",
    "const f = (x: number) => x ? -x : x + 1;",
    "const f = (x: { lt(y: number): boolean }) => x.lt(3) ? 1 : 2;",
    "const f = (x: Tensor) => { const g = (x: number) => x + 1; return g(2); };",
    "semver.lt(a, b) ? 1 : 2;",
    "nn.stateless((x, mode) => mode ? x : x.neg())",
    "list.map((x) => x ? 1 : 2);",
    "const f = (x: { w?: Tensor }) => x.w ? 1 : 2;",
  ];
  for (const code of cases) assertEquals(reports(code), [], code);
});

Deno.test("the plugin works in deno lint", async () => {
  const folder = await Deno.makeTempDir();
  const plugins = [new URL("lint.ts", import.meta.url).href];
  await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ lint: { plugins } }));
  await Deno.writeTextFile(`${folder}/main.ts`, "export const f = jit((x) => x.gt(0) ? x : x.neg());\n");
  const { code, stderr, stdout } = await new Deno.Command("deno", {
    args: ["lint"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals([code, text.includes("localgrad/tensor-condition"), text.includes("where(condition, a, b)")], [
    1,
    true,
    true,
  ], text);
  await Deno.remove(folder, { recursive: true });
});
