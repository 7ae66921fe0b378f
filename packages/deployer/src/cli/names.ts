/** Names for what is started together: short, for 80 columns, and used once. */
import { randomInt } from "node:crypto"

const alphabet = "abcdefghjkmnpqrstuvwxyz23456789"

/** Such as `u7k2m`: one of 28 million after its first letter. */
export const newGroupName = (first: "u" | "r"): string =>
  first + Array.from({ length: 5 }, () => alphabet[randomInt(alphabet.length)]).join("")
