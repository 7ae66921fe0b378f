/**
 * Ends this process at once, with an exit code. `process.exit` waits for the calls into the file system that are under way, and one on a dead
 * mount never returns: such a process could be ended by `kill -9` alone. Another program in its place waits for none.
 */
export const endProcess = (code: number): never => {
  process.execve?.("/bin/sh", ["sh", "-c", `exit ${code}`])
  return process.exit(code)
}
