import { defineConfig } from "vitest/config"

// Two projects that differ in what a file may use of the machine. A file of `packages` is mostly arithmetic under
// virtual time; a file of `system` starts servers, nodes, ffmpeg and a browser, and measures them: one at a time, and
// only once the others are done.
export default defineConfig({
  test: {
    // The same everywhere: vitest would otherwise decide these by whether it believes to be in CI.
    allowOnly: false,
    update: "none",
    watch: false,
    projects: [
      {
        extends: true,
        test: {
          name: "packages",
          include: ["packages/*/test/**/*.test.ts"],
          maxWorkers: 2,
          testTimeout: 30_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 0 }
        }
      },
      {
        extends: true,
        test: {
          name: "system",
          include: ["test/**/*.test.ts"],
          exclude: ["**/node_modules/**", "test/releases/**"],
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})
