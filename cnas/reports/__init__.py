"""What finished runs and runs under way say: one page of HTML, comparisons, and the paper's figures."""
