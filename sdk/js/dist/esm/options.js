export const systemClock = {
    now: () => performance.now(),
    date: () => Date.now(),
    setTimeout: (f, ms) => setTimeout(f, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
};
