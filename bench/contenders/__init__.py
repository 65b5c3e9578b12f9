"""Other ways to build what is measured here, each as good as it can be made and run as a process of its own."""
