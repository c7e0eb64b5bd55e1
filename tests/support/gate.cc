// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libmhgate.so: stands between a real process and its calls to the kernel (LD_PRELOAD).
//
// It counts, in each process, the calls that change files below a directory, and at one of them
// kills the process, fails the call, does half of it, or waits. So a test can stop Dovecot,
// Berkeley DB or an nmh command at every single call, or hold it between two calls while another
// one works. Told by the environment, all optional but the root:
//
//   MHGATE_ROOT=dir            calls on paths below it count (no symlink in it)
//   MHGATE_COMM=name           only in processes of that command name (imap, mark, ...)
//   MHGATE_DEAF=dir            inotify tells nothing of this directory, as of one on another machine
//   MHGATE_LOCKS=1             calls of fcntl(2) for locks and leases, flock and lockf count too
//   MHGATE_TRACE=file          gets a line "<pid> <comm> <n> <call> <path>" before each call
//   MHGATE_KILL_AT=at          SIGKILL instead of the call
//   MHGATE_TORN_AT=at:bytes    so many bytes of a write, then SIGKILL (another call: SIGKILL);
//                              "half" of them, or all but the "last"
//   MHGATE_SHORT_AT=at:bytes   so many bytes of a write, and says so (another call: done in full)
//   MHGATE_FAIL_AT=at:errno[:sticky]   ENOSPC or the number; sticky: all calls from there on
//   MHGATE_DELAY_AT=at:ms      sleeps before the call
//   MHGATE_WAIT_AT=at:path     makes <path>.reached, goes on when <path>.go is there, or after 60 s
//   MHGATE_AHEAD=seconds       its clock of the day is so far ahead; files get their real stamps
//   MHGATE_CONTROL=file        holds lines like the above without "MHGATE_"; read anew when it
//                              changes, and counting starts anew then. For servers, whose
//                              environment is fixed when they start.
//
// `at` is n, the n-th of all counted calls of a process, or call/n, the n-th of that name.
//
// Not seen: calls made inside the C library (writes of stdio: there fopen, fflush and fclose
// count), by syscall(2), and through memory maps. Nothing of the C++ library is used, so that it
// can be loaded into any program; its own calls go by syscall(2). Long, because each call of the C
// library is an entry of its own.

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace {

// ---- What we are told -----------------------------------------------------------------------

struct Position {
  char call[24];
  int nth;
  char rest[PATH_MAX];  // what follows the colon
};

struct Told {
  char root[PATH_MAX];
  char comm[32];
  char trace[PATH_MAX];
  char deaf[PATH_MAX];
  bool locks;
  long ahead;
  Position kill, torn, cut, fail, delay, wait;
};

struct State {
  bool ready;
  Told told;
  char control[PATH_MAX];
  struct stat control_stat;
  int total;
  struct Count {
    const char* call;
    int count;
  } counts[64];
};
State state;

void copy_text(char* to, size_t size, const char* from, size_t length) {
  if (length >= size) length = size - 1;
  memcpy(to, from, length);
  to[length] = '\0';
}

// "[call/]n[:rest]"
void parse_position(Position& to, const char* text, size_t length) {
  to = Position();
  char buffer[PATH_MAX];
  copy_text(buffer, sizeof(buffer), text, length);
  if (char* colon = strchr(buffer, ':')) {
    *colon = '\0';
    copy_text(to.rest, sizeof(to.rest), colon + 1, strlen(colon + 1));
  }
  const char* number = buffer;
  if (char* slash = strchr(buffer, '/')) {
    *slash = '\0';
    copy_text(to.call, sizeof(to.call), buffer, strlen(buffer));
    number = slash + 1;
  }
  to.nth = atoi(number);
}

void take(Told& told, const char* key, size_t key_size, const char* value, size_t size) {
  const auto is = [&](const char* name) {
    return strlen(name) == key_size && strncmp(name, key, key_size) == 0;
  };
  if (is("ROOT")) copy_text(told.root, sizeof(told.root), value, size);
  if (is("COMM")) copy_text(told.comm, sizeof(told.comm), value, size);
  if (is("TRACE")) copy_text(told.trace, sizeof(told.trace), value, size);
  if (is("DEAF")) copy_text(told.deaf, sizeof(told.deaf), value, size);
  if (is("LOCKS")) told.locks = size > 0 && *value != '0';
  if (is("AHEAD")) told.ahead = strtol(value, nullptr, 10);
  if (is("KILL_AT")) parse_position(told.kill, value, size);
  if (is("TORN_AT")) parse_position(told.torn, value, size);
  if (is("SHORT_AT")) parse_position(told.cut, value, size);
  if (is("FAIL_AT")) parse_position(told.fail, value, size);
  if (is("DELAY_AT")) parse_position(told.delay, value, size);
  if (is("WAIT_AT")) parse_position(told.wait, value, size);
}

void take_environment(Told& told) {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (strncmp(*entry, "MHGATE_", 7) != 0) continue;
    const char* key = *entry + 7;
    if (const char* equals = strchr(key, '='))
      take(told, key, static_cast<size_t>(equals - key), equals + 1, strlen(equals + 1));
  }
}

void take_control(Told& told) {
  const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, state.control, O_RDONLY));
  if (fd < 0) return;
  static char text[8192];
  const long size = syscall(SYS_read, fd, text, sizeof(text) - 1);
  syscall(SYS_close, fd);
  text[size > 0 ? size : 0] = '\0';
  for (const char* line = text; *line != '\0';) {
    const char* end = strchrnul(line, '\n');
    const char* equals =
        static_cast<const char*>(memchr(line, '=', static_cast<size_t>(end - line)));
    if (equals != nullptr)
      take(told, line, static_cast<size_t>(equals - line), equals + 1,
           static_cast<size_t>(end - equals - 1));
    line = *end == '\0' ? end : end + 1;
  }
}

void start_counting_anew() {
  state.told = Told();
  take_environment(state.told);
  if (state.control[0] != '\0') take_control(state.told);
  state.total = 0;
  memset(state.counts, 0, sizeof(state.counts));
}

void refresh() {
  struct stat now;
  memset(&now, 0, sizeof(now));
  if (!state.ready) {
    if (const char* control = getenv("MHGATE_CONTROL"))
      copy_text(state.control, sizeof(state.control), control, strlen(control));
  }
  if (state.control[0] != '\0') syscall(SYS_newfstatat, AT_FDCWD, state.control, &now, 0);
  if (state.ready && now.st_ino == state.control_stat.st_ino &&
      now.st_mtim.tv_sec == state.control_stat.st_mtim.tv_sec &&
      now.st_mtim.tv_nsec == state.control_stat.st_mtim.tv_nsec &&
      now.st_size == state.control_stat.st_size)
    return;
  state.ready = true;
  state.control_stat = now;
  start_counting_anew();
}

// ---- Whether a call is meant ----------------------------------------------------------------

struct Path {
  char text[2 * PATH_MAX];
};

void path_of_fd(Path& to, int fd) {
  char link[48];
  if (fd == AT_FDCWD)
    snprintf(link, sizeof(link), "/proc/self/cwd");
  else
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlinkat, AT_FDCWD, link, to.text, PATH_MAX - 1);
  to.text[length > 0 ? length : 0] = '\0';
}

// Takes "." and ".." out, by the letter.
void simplify(Path& path) {
  char* to = path.text;
  for (const char* from = path.text; *from == '/';) {
    const char* end = strchrnul(from + 1, '/');
    const size_t size = static_cast<size_t>(end - from);
    if (size == 3 && strncmp(from, "/..", 3) == 0) {
      while (to > path.text && *--to != '/') {
      }
    } else if (size > 1 && !(size == 2 && from[1] == '.')) {
      memmove(to, from, size);
      to += size;
    }
    from = end;
  }
  *to = '\0';
}

void path_of(Path& to, int dir, const char* name) {
  to.text[0] = '\0';
  if (name == nullptr) return;
  if (name[0] != '/') {
    path_of_fd(to, dir);
    strncat(to.text, "/", PATH_MAX - 1);
  }
  strncat(to.text, name, PATH_MAX - 1);
  simplify(to);
}

bool is_below_root(const Path& path) {
  const size_t length = strlen(state.told.root);
  return length > 0 && strncmp(path.text, state.told.root, length) == 0 &&
         (path.text[length] == '/' || path.text[length] == '\0');
}

bool is_our_command() {
  if (state.told.comm[0] == '\0') return true;
  char comm[17] = {};
  syscall(SYS_prctl, PR_GET_NAME, comm, 0, 0, 0);
  return strncmp(comm, state.told.comm, 15) == 0;
}

// ---- What happens at a call -----------------------------------------------------------------

constexpr size_t kWhole = SIZE_MAX;

constexpr size_t kHalf = SIZE_MAX - 1;
constexpr size_t kAllButLast = SIZE_MAX - 2;

struct Verdict {
  int error = 0;          // fail with this
  size_t bytes = kWhole;  // write so many only
  bool kill = false;      // and die
};

int count_call(const char* call) {
  for (auto& entry : state.counts) {
    if (entry.call == nullptr) entry.call = call;
    if (strcmp(entry.call, call) == 0) return ++entry.count;
  }
  return 0;
}

bool is_at(const Position& position, const char* call, int of_name, bool or_later = false) {
  if (position.nth == 0) return false;
  if (position.call[0] != '\0' && strcmp(position.call, call) != 0) return false;
  const int n = position.call[0] != '\0' ? of_name : state.total;
  return n == position.nth || (or_later && n > position.nth);
}

void pause_for(long milliseconds) {
  struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  while (syscall(SYS_nanosleep, &left, &left) != 0 && errno == EINTR) {
  }
}

void write_trace(const char* call, const char* path) {
  char comm[17] = {};
  syscall(SYS_prctl, PR_GET_NAME, comm, 0, 0, 0);
  static char line[2 * PATH_MAX + 128];
  const int size = snprintf(line, sizeof(line), "%ld %s %d %s %s\n", syscall(SYS_getpid), comm,
                            state.total, call, path);
  const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, state.told.trace,
                                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (fd < 0) return;
  if (syscall(SYS_write, fd, line, size) < 0) abort();
  syscall(SYS_close, fd);
}

void rendezvous(const char* path) {
  char name[PATH_MAX + 16];
  snprintf(name, sizeof(name), "%s.reached", path);
  const long fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT, 0666);
  if (fd >= 0) syscall(SYS_close, fd);
  snprintf(name, sizeof(name), "%s.go", path);
  struct stat found;
  for (int i = 0; i < 60'000 && syscall(SYS_newfstatat, AT_FDCWD, name, &found, 0) != 0; ++i)
    pause_for(1);
}

int error_number(const char* text) {
  static const struct {
    const char* name;
    int number;
  } kNames[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EDQUOT", EDQUOT}, {"EINTR", EINTR},
                {"EROFS", EROFS},   {"EACCES", EACCES}, {"EAGAIN", EAGAIN}, {"EPERM", EPERM}};
  for (const auto& entry : kNames)
    if (strncmp(text, entry.name, strlen(entry.name)) == 0) return entry.number;
  return atoi(text);
}

[[noreturn]] void die() {
  for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

Verdict arrive(const char* call, const Path& path) {
  const int saved = errno;
  ++state.total;
  const int n = count_call(call);
  const Told& told = state.told;
  if (told.trace[0] != '\0') write_trace(call, path.text);
  if (is_at(told.delay, call, n)) pause_for(atol(told.delay.rest));
  if (is_at(told.wait, call, n)) rendezvous(told.wait.rest);
  if (is_at(told.kill, call, n)) die();
  Verdict verdict;
  if (is_at(told.torn, call, n)) {
    verdict.bytes = strcmp(told.torn.rest, "half") == 0   ? kHalf
                    : strcmp(told.torn.rest, "last") == 0 ? kAllButLast
                                                          : strtoul(told.torn.rest, nullptr, 10);
    verdict.kill = true;
  } else if (is_at(told.cut, call, n)) {
    verdict.bytes = strtoul(told.cut.rest, nullptr, 10);
  } else if (is_at(told.fail, call, n, strstr(told.fail.rest, ":sticky") != nullptr)) {
    verdict.error = error_number(told.fail.rest);
  }
  errno = saved;
  return verdict;
}

Verdict arrive_at_path(const char* call, int dir, const char* name) {
  refresh();
  Path path;
  path_of(path, dir, name);
  return is_below_root(path) && is_our_command() ? arrive(call, path) : Verdict();
}

Verdict arrive_at_paths(const char* call, int dir, const char* name, int to_dir, const char* to) {
  refresh();
  Path path;
  path_of(path, to_dir, to);
  if (!is_below_root(path)) path_of(path, dir, name);
  return is_below_root(path) && is_our_command() ? arrive(call, path) : Verdict();
}

Verdict arrive_at_fd(const char* call, int fd) {
  refresh();
  Path path;
  path_of_fd(path, fd);
  return is_below_root(path) && is_our_command() ? arrive(call, path) : Verdict();
}

// The call itself, unless the verdict is another.
template <typename Call>
auto finish(const Verdict& verdict, Call call) -> decltype(call()) {
  if (verdict.kill) die();
  if (verdict.error != 0) {
    errno = verdict.error;
    return static_cast<decltype(call())>(-1);
  }
  return call();
}

// `call` writes as many bytes as it is told.
template <typename Call>
ssize_t finish_write(const Verdict& verdict, size_t size, Call call) {
  if (verdict.error != 0) {
    errno = verdict.error;
    return -1;
  }
  size_t bytes = verdict.bytes < size ? verdict.bytes : size;
  if (verdict.bytes == kHalf) bytes = size / 2;
  if (verdict.bytes == kAllButLast && size > 0) bytes = size - 1;
  const ssize_t result = bytes == 0 && verdict.kill ? 0 : call(bytes);
  if (verdict.kill) die();
  return result;
}

size_t size_of(const struct iovec* parts, int count) {
  size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  return size;
}

// The first `bytes` of the parts.
int cut_parts(struct iovec* to, const struct iovec* parts, int count, size_t bytes) {
  int kept = 0;
  for (; kept < count && kept < IOV_MAX && bytes > 0; ++kept) {
    to[kept] = parts[kept];
    if (to[kept].iov_len > bytes) to[kept].iov_len = bytes;
    bytes -= to[kept].iov_len;
  }
  return kept;
}

bool changes(int flags) {
  return (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

}  // namespace

// ---- The calls ------------------------------------------------------------------------------

static_assert(sizeof(off_t) == sizeof(off64_t), "one signature serves both sets of functions");

// Defines the function of the C library under a name of our own, so that its declaration in
// the headers, with attributes that differ from version to version, does not stand in the way.
#define GATE(result, name, ...)                     \
  extern "C" __attribute__((visibility("default"))) \
  result gate_##name(__VA_ARGS__) __asm__(#name);   \
  extern "C" result gate_##name(__VA_ARGS__)
// The one behind ours.
#define NEXT(name)                              \
  static decltype(&gate_##name) next = nullptr; \
  if (next == nullptr) next = reinterpret_cast<decltype(next)>(dlsym(RTLD_NEXT, #name))

GATE(int, clock_gettime, clockid_t clock, struct timespec* to) {
  const long result = syscall(SYS_clock_gettime, clock, to);
  if (!state.ready) refresh();
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    to->tv_sec += state.told.ahead;
  return static_cast<int>(result);
}

#define GATE_OPEN(name)                                            \
  GATE(int, name, const char* path, int flags, ...) {              \
    NEXT(name);                                                    \
    va_list rest;                                                  \
    va_start(rest, flags);                                         \
    const mode_t mode = changes(flags) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                  \
    if (!changes(flags)) return next(path, flags);                 \
    return finish(arrive_at_path("open", AT_FDCWD, path),          \
                  [&] { return next(path, flags, mode); });        \
  }
GATE_OPEN(open)
GATE_OPEN(open64)

#define GATE_OPENAT(name)                                          \
  GATE(int, name, int dir, const char* path, int flags, ...) {     \
    NEXT(name);                                                    \
    va_list rest;                                                  \
    va_start(rest, flags);                                         \
    const mode_t mode = changes(flags) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                  \
    if (!changes(flags)) return next(dir, path, flags);            \
    return finish(arrive_at_path("open", dir, path),               \
                  [&] { return next(dir, path, flags, mode); });   \
  }
GATE_OPENAT(openat)
GATE_OPENAT(openat64)

// What _FORTIFY_SOURCE makes of an open without mode.
#define GATE_OPEN_2(name)                                                                     \
  GATE(int, name, const char* path, int flags) {                                              \
    NEXT(name);                                                                               \
    if (!changes(flags)) return next(path, flags);                                            \
    return finish(arrive_at_path("open", AT_FDCWD, path), [&] { return next(path, flags); }); \
  }
GATE_OPEN_2(__open_2)
GATE_OPEN_2(__open64_2)

#define GATE_CREAT(name)                                                                     \
  GATE(int, name, const char* path, mode_t mode) {                                           \
    NEXT(name);                                                                              \
    return finish(arrive_at_path("open", AT_FDCWD, path), [&] { return next(path, mode); }); \
  }
GATE_CREAT(creat)
GATE_CREAT(creat64)

#define GATE_FOPEN(name)                                             \
  GATE(FILE*, name, const char* path, const char* mode) {            \
    NEXT(name);                                                      \
    if (strpbrk(mode, "wa+") == nullptr) return next(path, mode);    \
    const Verdict verdict = arrive_at_path("fopen", AT_FDCWD, path); \
    if (verdict.kill) die();                                         \
    if (verdict.error == 0) return next(path, mode);                 \
    errno = verdict.error;                                           \
    return nullptr;                                                  \
  }
GATE_FOPEN(fopen)
GATE_FOPEN(fopen64)

GATE(int, fflush, FILE* file) {
  NEXT(fflush);
  if (file == nullptr) return next(file);
  return finish(arrive_at_fd("fflush", fileno(file)), [&] { return next(file); });
}
GATE(int, fclose, FILE* file) {
  NEXT(fclose);
  const int flags = fcntl(fileno(file), F_GETFL);
  if ((flags & O_ACCMODE) == O_RDONLY) return next(file);
  const Verdict verdict = arrive_at_fd("fclose", fileno(file));
  if (verdict.kill) die();
  return next(file);
}

GATE(ssize_t, write, int fd, const void* from, size_t size) {
  NEXT(write);
  return finish_write(arrive_at_fd("write", fd), size,
                      [&](size_t bytes) { return next(fd, from, bytes); });
}
#define GATE_PWRITE(name)                                                             \
  GATE(ssize_t, name, int fd, const void* from, size_t size, off64_t offset) {        \
    NEXT(name);                                                                       \
    return finish_write(arrive_at_fd("pwrite", fd), size,                             \
                        [&](size_t bytes) { return next(fd, from, bytes, offset); }); \
  }
GATE_PWRITE(pwrite)
GATE_PWRITE(pwrite64)

GATE(ssize_t, writev, int fd, const struct iovec* parts, int count) {
  NEXT(writev);
  struct iovec cut[IOV_MAX];
  return finish_write(arrive_at_fd("writev", fd), size_of(parts, count), [&](size_t bytes) {
    return next(fd, cut, cut_parts(cut, parts, count, bytes));
  });
}
#define GATE_PWRITEV(name)                                                                      \
  GATE(ssize_t, name, int fd, const struct iovec* parts, int count, off64_t offset) {           \
    NEXT(name);                                                                                 \
    struct iovec cut[IOV_MAX];                                                                  \
    return finish_write(arrive_at_fd("pwritev", fd), size_of(parts, count), [&](size_t bytes) { \
      return next(fd, cut, cut_parts(cut, parts, count, bytes), offset);                        \
    });                                                                                         \
  }
GATE_PWRITEV(pwritev)
GATE_PWRITEV(pwritev64)

#define GATE_PWRITEV2(name)                                                                      \
  GATE(ssize_t, name, int fd, const struct iovec* parts, int count, off64_t offset, int flags) { \
    NEXT(name);                                                                                  \
    struct iovec cut[IOV_MAX];                                                                   \
    return finish_write(arrive_at_fd("pwritev", fd), size_of(parts, count), [&](size_t bytes) {  \
      return next(fd, cut, cut_parts(cut, parts, count, bytes), offset, flags);                  \
    });                                                                                          \
  }
GATE_PWRITEV2(pwritev2)
GATE_PWRITEV2(pwritev64v2)

GATE(ssize_t, copy_file_range, int in, off64_t* in_at, int out, off64_t* out_at, size_t size,
     unsigned flags) {
  NEXT(copy_file_range);
  return finish_write(arrive_at_fd("copy_file_range", out), size,
                      [&](size_t bytes) { return next(in, in_at, out, out_at, bytes, flags); });
}
#define GATE_SENDFILE(name)                                                      \
  GATE(ssize_t, name, int out, int in, off64_t* at, size_t size) {               \
    NEXT(name);                                                                  \
    return finish_write(arrive_at_fd("sendfile", out), size,                     \
                        [&](size_t bytes) { return next(out, in, at, bytes); }); \
  }
GATE_SENDFILE(sendfile)
GATE_SENDFILE(sendfile64)

GATE(int, ioctl, int fd, unsigned long request, ...) {
  NEXT(ioctl);
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  if (request != FICLONERANGE && request != FICLONE) return next(fd, request, argument);
  return finish(arrive_at_fd("clone", fd), [&] { return next(fd, request, argument); });
}

// Calls that do nothing but this to a descriptor.
#define GATE_FD(name, called, arguments, ...)                                \
  GATE(int, name, __VA_ARGS__) {                                             \
    NEXT(name);                                                              \
    return finish(arrive_at_fd(called, fd), [&] { return next arguments; }); \
  }
GATE_FD(ftruncate, "ftruncate", (fd, size), int fd, off64_t size)
GATE_FD(ftruncate64, "ftruncate", (fd, size), int fd, off64_t size)
GATE_FD(fallocate, "fallocate", (fd, mode, at, size), int fd, int mode, off64_t at, off64_t size)
GATE_FD(fallocate64, "fallocate", (fd, mode, at, size), int fd, int mode, off64_t at, off64_t size)
GATE_FD(fsync, "fsync", (fd), int fd)
GATE_FD(fdatasync, "fdatasync", (fd), int fd)
GATE_FD(syncfs, "syncfs", (fd), int fd)
GATE_FD(sync_file_range, "sync_file_range", (fd, at, size, flags), int fd, off64_t at, off64_t size,
        unsigned flags)
GATE_FD(fchmod, "fchmod", (fd, mode), int fd, mode_t mode)
GATE_FD(fchown, "fchown", (fd, uid, gid), int fd, uid_t uid, gid_t gid)
GATE_FD(futimens, "futimens", (fd, times), int fd, const struct timespec* times)
GATE_FD(fsetxattr, "fsetxattr", (fd, name, value, size, flags), int fd, const char* name,
        const void* value, size_t size, int flags)

// Calls on one name.
#define GATE_NAME(name, called, arguments, ...)                                            \
  GATE(int, name, __VA_ARGS__) {                                                           \
    NEXT(name);                                                                            \
    return finish(arrive_at_path(called, AT_FDCWD, path), [&] { return next arguments; }); \
  }
#define GATE_NAME_AT(name, called, arguments, ...)                                    \
  GATE(int, name, __VA_ARGS__) {                                                      \
    NEXT(name);                                                                       \
    return finish(arrive_at_path(called, dir, path), [&] { return next arguments; }); \
  }
GATE_NAME(truncate, "truncate", (path, size), const char* path, off64_t size)
GATE_NAME(truncate64, "truncate", (path, size), const char* path, off64_t size)
GATE_NAME(unlink, "unlink", (path), const char* path)
GATE_NAME_AT(unlinkat, "unlink", (dir, path, flags), int dir, const char* path, int flags)
GATE_NAME(mkdir, "mkdir", (path, mode), const char* path, mode_t mode)
GATE_NAME_AT(mkdirat, "mkdir", (dir, path, mode), int dir, const char* path, mode_t mode)
GATE_NAME(rmdir, "rmdir", (path), const char* path)
GATE_NAME(chmod, "chmod", (path, mode), const char* path, mode_t mode)
GATE_NAME_AT(fchmodat, "chmod", (dir, path, mode, flags), int dir, const char* path, mode_t mode,
             int flags)
GATE_NAME(chown, "chown", (path, uid, gid), const char* path, uid_t uid, gid_t gid)
GATE_NAME_AT(fchownat, "chown", (dir, path, uid, gid, flags), int dir, const char* path, uid_t uid,
             gid_t gid, int flags)
GATE_NAME(utime, "utime", (path, times), const char* path, const void* times)
GATE_NAME(utimes, "utime", (path, times), const char* path, const void* times)
GATE_NAME_AT(utimensat, "utime", (dir, path, times, flags), int dir, const char* path,
             const struct timespec* times, int flags)
GATE_NAME(symlink, "symlink", (target, path), const char* target, const char* path)
GATE_NAME_AT(symlinkat, "symlink", (target, dir, path), const char* target, int dir,
             const char* path)

GATE_NAME(remove, "remove", (path), const char* path)

// This one returns its error.
#define GATE_FALLOCATE(name)                                        \
  GATE(int, name, int fd, off64_t at, off64_t size) {               \
    NEXT(name);                                                     \
    const Verdict verdict = arrive_at_fd("fallocate", fd);          \
    if (verdict.kill) die();                                        \
    return verdict.error != 0 ? verdict.error : next(fd, at, size); \
  }
GATE_FALLOCATE(posix_fallocate)
GATE_FALLOCATE(posix_fallocate64)

// Calls on two names.
#define GATE_NAMES(name, called, arguments, ...)                         \
  GATE(int, name, __VA_ARGS__) {                                         \
    NEXT(name);                                                          \
    return finish(arrive_at_paths(called, AT_FDCWD, path, AT_FDCWD, to), \
                  [&] { return next arguments; });                       \
  }
#define GATE_NAMES_AT(name, called, arguments, ...)                                                \
  GATE(int, name, __VA_ARGS__) {                                                                   \
    NEXT(name);                                                                                    \
    return finish(arrive_at_paths(called, dir, path, to_dir, to), [&] { return next arguments; }); \
  }
GATE_NAMES(rename, "rename", (path, to), const char* path, const char* to)
GATE_NAMES_AT(renameat, "rename", (dir, path, to_dir, to), int dir, const char* path, int to_dir,
              const char* to)
GATE_NAMES_AT(renameat2, "rename", (dir, path, to_dir, to, flags), int dir, const char* path,
              int to_dir, const char* to, unsigned flags)
GATE_NAMES(link, "link", (path, to), const char* path, const char* to)
GATE_NAMES_AT(linkat, "link", (dir, path, to_dir, to, flags), int dir, const char* path, int to_dir,
              const char* to, int flags)

// What is watched instead is a directory in which nothing happens.
GATE(int, inotify_add_watch, int fd, const char* path, uint32_t mask) {
  NEXT(inotify_add_watch);
  refresh();
  Path full;
  path_of(full, AT_FDCWD, path);
  const bool deaf = state.told.deaf[0] != '\0' && strcmp(full.text, state.told.deaf) == 0;
  return next(fd, deaf ? "/proc/sys" : path, mask);
}

// Locks, when they are to count.
GATE(int, flock, int fd, int operation) {
  NEXT(flock);
  refresh();
  if (!state.told.locks) return next(fd, operation);
  return finish(arrive_at_fd("flock", fd), [&] { return next(fd, operation); });
}
#define GATE_LOCKF(name)                                                                 \
  GATE(int, name, int fd, int operation, off64_t size) {                                 \
    NEXT(name);                                                                          \
    refresh();                                                                           \
    if (!state.told.locks) return next(fd, operation, size);                             \
    return finish(arrive_at_fd("lockf", fd), [&] { return next(fd, operation, size); }); \
  }
GATE_LOCKF(lockf)
GATE_LOCKF(lockf64)

#define GATE_FCNTL(name)                                                                           \
  GATE(int, name, int fd, int operation, ...) {                                                    \
    NEXT(name);                                                                                    \
    va_list rest;                                                                                  \
    va_start(rest, operation);                                                                     \
    void* argument = va_arg(rest, void*);                                                          \
    va_end(rest);                                                                                  \
    const bool lock = operation == F_SETLK || operation == F_SETLKW || operation == F_OFD_SETLK || \
                      operation == F_OFD_SETLKW || operation == F_SETLEASE;                        \
    if (!lock) return next(fd, operation, argument);                                               \
    refresh();                                                                                     \
    if (!state.told.locks) return next(fd, operation, argument);                                   \
    return finish(arrive_at_fd("fcntl", fd), [&] { return next(fd, operation, argument); });       \
  }
GATE_FCNTL(fcntl)
GATE_FCNTL(fcntl64)
