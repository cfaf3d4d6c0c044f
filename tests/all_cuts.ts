/** All ways to cut `blocks` into `modules`. */
export function allCuts(blocks: number, modules: number, from = 0): number[][] {
  if (modules === 1) return [[blocks]];
  return Array.from({ length: blocks - from - modules + 1 }, (_, i) => from + i + 1)
    .flatMap((end) => allCuts(blocks, modules - 1, end).map((rest) => [end, ...rest]));
}
