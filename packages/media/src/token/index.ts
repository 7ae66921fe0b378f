/** Tokens for peers: light enough for a backend that has nothing else of a media node. */
export type { TokenClaims } from "./signToken.ts"
export { signToken } from "./signToken.ts"
