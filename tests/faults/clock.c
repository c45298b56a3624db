/* Preloaded into a process: its clock of the day is off by so many seconds as a mapped file says.
   The monotonic clock stays, as it does when a machine's clock is set. */

typedef long seconds;
struct moment { seconds sec; long part; };

extern long syscall(long number, ...);
extern char *getenv(const char *name);
extern int open(const char *path, int flags, ...);
extern void *mmap(void *address, unsigned long length, int protection, int flags, int file, long at);

#if defined(__x86_64__)
#define CLOCK_GETTIME 228
#elif defined(__aarch64__)
#define CLOCK_GETTIME 113
#else
#error "the number of the system call is not known here"
#endif
#define REALTIME 0
#define REALTIME_COARSE 5

static volatile seconds *offset;

static seconds step(void)
{
    static int has_tried;
    if (!offset && !has_tried) {
        const char *path = getenv("CLOCK_OFFSET_FILE");
        has_tried = 1;
        if (path) {
            int file = open(path, 0);
            if (file >= 0) {
                void *mapped = mmap(0, sizeof *offset, 1, 1, file, 0);
                if (mapped != (void *)-1) offset = mapped;
            }
        }
    }
    return offset ? *offset : 0;
}

int clock_gettime(int clock, struct moment *now)
{
    int result = (int)syscall(CLOCK_GETTIME, (long)clock, now);
    if (result == 0 && (clock == REALTIME || clock == REALTIME_COARSE)) now->sec += step();
    return result;
}

int gettimeofday(struct moment *now, void *zone)
{
    (void)zone;
    if (clock_gettime(REALTIME, now) != 0) return -1;
    now->part /= 1000;
    return 0;
}

seconds time(seconds *result)
{
    struct moment now;
    if (clock_gettime(REALTIME, &now) != 0) return -1;
    if (result) *result = now.sec;
    return now.sec;
}
