/** Reports a value of process `rank` to the test that started it. */
export function report(rank: number, value: unknown): void {
  Deno.writeTextFileSync(`${Deno.env.get("REPORTS")}/${rank}.json`, JSON.stringify(value));
}
