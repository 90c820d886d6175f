"""Reports about runs: one page of HTML, comparisons of finished runs, and the paper's figures."""
