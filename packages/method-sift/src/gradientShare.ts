/**
 * How much of a gradient the chosen entries hold, in per cent: 100·‖g_I‖/‖g‖ (Song et al. 2024: gradients at a pretrained point are
 * quasi-sparse). `gradient` and `places` in the same flat order; 0 for a gradient of zeros.
 */
export function gradientShare(gradient: Float32Array, places: Int32Array): number {
  const whole = norm(gradient);
  return whole === 0 ? 0 : (100 * norm(Float32Array.from(places, (place) => gradient[place] ?? 0))) / whole;
}

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
