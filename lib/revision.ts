/**
 * Of what verifies, raised when it comes to other facts of the same claims, above all when it refuses
 * what it took before. It is a part of the digest of trust: what was found out under an earlier one is
 * found out again when it is asked for, from what is kept. `test/house.test.ts` notices changes.
 */
export const revision = 1
