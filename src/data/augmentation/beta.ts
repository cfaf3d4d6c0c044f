/** Steps of the integral. */
const STEPS = 1 << 14;

/**
 * Quantiles of the Beta(α, α) distribution at the middles of `count` equal shares of probability. The integral runs over
 * t with x = sin²t: the density is then ∝ sin(2t)^(2α − 1), which has no pole for α ≥ 0.5; below that the power of t, or
 * of its distance from the other end, is integrated exactly, and the rest is taken from the middle of a step.
 */
export function betaQuantiles(alpha: number, count: number): number[] {
  const angle = (step: number) => Math.PI / 2 * step / STEPS;
  const weights = Array.from({ length: STEPS }, (_, step) => {
    const near = Math.min(step, STEPS - 1 - step); // the steps between this one and the nearer end
    const t = angle(near + 0.5);
    if (alpha >= 0.5) return Math.sin(2 * t) ** (2 * alpha - 1);
    const power = angle(near + 1) ** (2 * alpha) - angle(near) ** (2 * alpha);
    return power * (Math.sin(2 * t) / t) ** (2 * alpha - 1);
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
