/** Steps of the integral. */
const STEPS = 1 << 14;

/**
 * Quantiles of the Beta(α, α) distribution at the middles of `count` equal shares of probability. The integral runs over
 * t with x = sin²t: the density is then ∝ (sin t · cos t)^(2α − 1), which has no pole for α ≥ 0.5; below that the weight
 * of a step is that of its middle.
 */
export function betaQuantiles(alpha: number, count: number): number[] {
  const angle = (step: number) => Math.PI / 2 * step / STEPS;
  const weights = Array.from({ length: STEPS }, (_, step) => {
    const t = angle(step + 0.5);
    return (Math.sin(t) * Math.cos(t)) ** (2 * alpha - 1);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const quantiles: number[] = [];
  let sum = 0;
  weights.forEach((weight, step) => {
    while (quantiles.length < count && (quantiles.length + 0.5) / count * total <= sum + weight) {
      const within = ((quantiles.length + 0.5) / count * total - sum) / weight;
      quantiles.push(Math.sin(angle(step + within)) ** 2);
    }
    sum += weight;
  });
  while (quantiles.length < count) quantiles.push(1);
  return quantiles;
}
