"""The files that `fnet inspect` writes with -o."""

FEATURES_FILE, PAGE_FILE = "features.npz", "report.html"
PAIR_FILES = (
    *(FEATURES_FILE, PAGE_FILE, "features.png", "parts.png", "residuals.png", "histograms.png"),
    *("schedules.png", "code_u.png", "code_v.png", "code_z.png"),
)
WEIGHTS_FILES = (
    *("schedules.png", "analysis_u.png", "analysis_v.png", "analysis_z.png"),
    *("synthesis_u.png", "synthesis_v.png", "synthesis_z.png"),
)
