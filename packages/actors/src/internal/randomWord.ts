/** Words that nobody guesses: 128 random bits in base64url, 22 characters. */

const bytesOfWord = 16
// Drawn for many at once: one by one they cost more than the rest of a frame.
const drawn = Buffer.alloc(bytesOfWord * 256)
let next = drawn.length

export const randomWord = (): string => {
  if (next === drawn.length) {
    crypto.getRandomValues(drawn)
    next = 0
  }
  const from = next
  next += bytesOfWord
  return drawn.toString("base64url", from, next)
}
