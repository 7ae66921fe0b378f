/**
 * A disk of its own for a fault: ext4 in a file, on a loop device. It can be frozen (every write waits in the kernel), and cut off as by a
 * power cut: the file system gives up at once, nothing that is in memory alone reaches the disk, and mounting it again finds what the next boot
 * would find. Needs root and loop devices.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const run = (command: string, args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

/** `EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`: Linux, fs/ext4/ext4.h. */
const cutOff = `import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print("armed", flush=True)
sys.stdin.readline()
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))`

export const makeDisk = (megabytes: number) => {
  const folder = mkdtempSync(join(tmpdir(), "ebb-disk-"))
  const image = join(folder, "image")
  const at = join(folder, "disk")
  const fd = openSync(image, "w")
  ftruncateSync(fd, megabytes * 2 ** 20)
  closeSync(fd)
  mkdirSync(at)
  run("mkfs.ext4", ["-q", "-F", image])
  const mount = () => {
    try {
      run("mount", ["-o", "loop", image, at])
    } catch (cause) {
      throw new Error("no loop device can be mounted here: run it as root, on a machine with /dev/loop*", {
        cause
      })
    }
  }
  mount()
  return {
    at,
    freeze: () => run("fsfreeze", ["--freeze", at]),
    thaw: () => run("fsfreeze", ["--unfreeze", at]),
    /** What it gives cuts within a millisecond. */
    arm: async () => {
      const child = spawn("python3", ["-c", cutOff, at], { stdio: ["pipe", "pipe", "inherit"] })
      const ended = once(child, "close")
      await once(child.stdout, "data")
      return async () => {
        child.stdin.end("\n")
        await ended
        if (child.exitCode !== 0) throw new Error("this kernel's ext4 cannot be cut off")
      }
    },
    /** After a cut, once nobody uses it any more. */
    boot: () => {
      run("umount", [at])
      mount()
    },
    remove: () => {
      run("umount", [at])
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
